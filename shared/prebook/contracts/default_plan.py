"""The default plan: couplings of bookings that choose none. Operators change it while the suite runs."""

from datetime import datetime
from typing import Annotated

import msgspec

from prebook.contracts.plan import Coupling

MAX_CHANGED_FLOWS = 16


class FlowDefault(msgspec.Struct, frozen=True, kw_only=True):
    """Coupling of one flow in the default plan."""

    coupling: Coupling
    configured: Coupling
    """Coupling by couplings.toml and PREBOOK_COUPLING_<FLOW>, which holds unless an operator has chosen another one."""
    changed_at: datetime | None = None
    """Time of the operator's choice; null if the configured coupling holds."""


class DefaultPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The default plan, by flow."""

    flows: dict[str, FlowDefault]


class DefaultPlanChange(msgspec.Struct, frozen=True, kw_only=True):
    """Couplings of some flows for bookings that begin from now on; null: the configured coupling again.

    Source: RFC 7396, JSON Merge Patch.
    """

    couplings: Annotated[dict[str, Coupling | None], msgspec.Meta(min_length=1, max_length=MAX_CHANGED_FLOWS)]
