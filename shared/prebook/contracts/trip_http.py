"""HTTP bodies of booking about trips, for riders and for its ledger."""

from datetime import datetime
from typing import Annotated

import msgspec

from prebook.contracts.booking import BookingView, RideRequest, RiderId
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import Money
from prebook.contracts.trip import (
    DEFAULT_TRIP_DEADLINE_S,
    MAX_LEGS,
    MAX_TRIP_DEADLINE_S,
    MIN_LEGS,
    MIN_TRIP_DEADLINE_S,
    LegOutcome,
    TripCompletion,
    TripPolicy,
    TripState,
    TripStateChange,
)

Legs = Annotated[
    tuple[RideRequest, ...],
    msgspec.Meta(min_length=MIN_LEGS, max_length=MAX_LEGS, description="rides, in the order of their pickups"),
]
DeadlineS = Annotated[
    float,
    msgspec.Meta(
        ge=MIN_TRIP_DEADLINE_S,
        le=MAX_TRIP_DEADLINE_S,
        description="seconds from the request until the trip has its outcome, at most until the first pickup",
    ),
]


class TripRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /v1/trips``."""

    rider_id: RiderId = ""
    """Required unless the rider is known from ``PREBOOK_RIDER_HEADER``."""
    legs: Legs
    policy: TripPolicy = TripPolicy.ALL
    """``all``: the first leg that is not confirmed ends the trip. ``partial``: confirmed legs are kept."""
    deadline_s: DeadlineS = DEFAULT_TRIP_DEADLINE_S
    callback_url: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    """URL that gets a signed POST for each outcome of the trip, at least once; its host must be allowed."""
    couplings: dict[str, Coupling] | None = None
    """Coupling by flow, in place of the default plan; refused unless the suite allows it."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "couplings", self.couplings or None)


class TripView(msgspec.Struct, frozen=True, kw_only=True):
    """A trip as its rider sees it."""

    id: str
    state: TripState
    settled: bool
    rider_id: str
    policy: TripPolicy
    deadline_s: float
    """Seconds from the request until the trip has its outcome, whatever its legs do."""
    legs: tuple[BookingView, ...]
    """Bookings of the legs, each with the reason if it is not confirmed."""
    couplings: dict[str, Coupling]
    history: tuple[TripStateChange, ...]
    completed_by: TripCompletion | None = None
    """What decided the outcome; null while the trip has none."""
    fare: Money | None = None
    """Total fare of the confirmed legs."""
    reason: str | None = None
    notified_at: datetime | None = None


class TripLedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of one trip, read by ``prebook ledger``."""

    trip_id: str
    idempotency_key: str
    """The rider's Idempotency-Key."""
    state: TripState
    policy: TripPolicy
    completed_by: TripCompletion | None
    accepted_at: datetime
    settled_at: datetime | None
    legs: int
    """Number of legs."""
    results: dict[int, LegOutcome]
    """Outcomes of legs that the trip has got, by number of the leg."""
    reason: str | None
    couplings: dict[str, Coupling]


class TripLedgerPage(msgspec.Struct, frozen=True, kw_only=True):
    """Page of ``GET /v1/ledger/trips?prefix=&after=&limit=``: trips in the order of their keys and ids."""

    entries: tuple[TripLedgerEntry, ...]
    next: str | None
    """Pass it as ``after`` to get the next page; null on the last page."""
