"""Profiles of riders, which notification owns, and the enrichment that pricing adds to the request for a fare."""

from enum import StrEnum
from typing import Annotated

import msgspec

ZoneName = Annotated[str, msgspec.Meta(pattern=r"^-?\d{1,5}:-?\d{1,5}(?![\s\S])", examples=["2625:670"])]


class RiderTier(StrEnum):
    """Tier of a rider, which lowers the fare; SQL uses the same values."""

    STANDARD = "standard"
    SILVER = "silver"
    GOLD = "gold"


class RiderProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``GET`` and ``PUT /v1/riders/{rider_id}/profile``. A rider without a stored profile has the defaults."""

    tier: RiderTier = RiderTier.STANDARD
    home_zone: ZoneName | None = None
    """Zone in which the rider pays no surcharge for demand."""


class FareEnrichment(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a fare was quoted with the rider's profile, and how old the profile was."""

    outcome: str
    """``enriched`` or ``skipped``."""
    age_s: float | None = None
    """Seconds since notification gave the profile."""
