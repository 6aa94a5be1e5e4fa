"""HTTP bodies by which the console makes a simulated partner fleet fail for a time, and sees how it replies."""

from enum import StrEnum
from typing import Annotated

import msgspec

MAX_CONDITION_S = 300.0


class PartnerCondition(StrEnum):
    """Condition of a partner, by its replies."""

    HEALTHY = "healthy"
    SLOW = "slow"
    """It replies a second later."""
    DEAD = "dead"
    """It accepts requests and never replies."""
    GARBLED = "garbled"
    """Its replies violate its own wire format."""
    UPGRADED = "upgraded"
    """Its replies name a version of its format that no translator reads."""


class ConditionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request to put a partner into a condition, which ends by itself."""

    condition: PartnerCondition
    duration_s: Annotated[float, msgspec.Meta(gt=0, le=MAX_CONDITION_S)]


class PartnerProbe(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of one call of a partner, made as for a ride. Nothing is reserved or recorded."""

    fleet: str
    outcome: str
    """``accepted``, ``declined``, ``no_reply``, ``garbled`` or ``unknown_version``."""
    seconds: float
