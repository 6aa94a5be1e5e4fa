"""A prebooked ride: its states and the legal transitions between them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from prebook.contracts.plan import Plan
from prebook.contracts.ride import SETTLED_STATES, BookingState, Driver, Money, Place, StateChange, VehicleClass

_ENDS_EARLY = frozenset({BookingState.REJECTED, BookingState.EXPIRED, BookingState.FAILED, BookingState.CANCELLED})

TRANSITIONS: Mapping[BookingState, frozenset[BookingState]] = {
    BookingState.REQUESTED: _ENDS_EARLY | {BookingState.PRICED},
    BookingState.PRICED: _ENDS_EARLY | {BookingState.MATCHED},
    BookingState.MATCHED: frozenset({BookingState.CONFIRMED, BookingState.EXPIRED, BookingState.CANCELLED}),
    BookingState.CONFIRMED: frozenset({BookingState.CANCELLED}),
    BookingState.REJECTED: frozenset(),
    BookingState.EXPIRED: frozenset(),
    BookingState.CANCELLED: frozenset(),
    BookingState.FAILED: frozenset(),
}

SLOT_DURATION = timedelta(minutes=15)


class IllegalTransition(Exception):
    """The booking's state does not allow this transition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ride:
    """The requested ride."""

    rider_id: str
    pickup: Place
    dropoff: Place
    pickup_at: datetime
    vehicle_class: VehicleClass
    passengers: int
    report_url: str | None = None
    """URL of the rider's own system, which receives every outcome."""


class TripLeg(NamedTuple):
    """Place of a booking in a trip."""

    trip_id: str
    number: int
    """Number of the leg, from 1."""


class RiderKey(NamedTuple):
    """Idempotency-Key of one rider. Equal keys of two riders have nothing to do with each other."""

    rider_id: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Price of a ride, and the end of its validity."""

    fare: Money
    valid_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """An immutable booking; every transition returns the next one or raises IllegalTransition."""

    id: str
    key: str
    """Idempotency-Key of the request that created it."""
    ride: Ride
    plan: Plan
    history: tuple[StateChange, ...]
    """All changes, oldest first; the first one is to ``requested``."""
    quote: Quote | None = None
    driver: Driver | None = None
    reason: str | None = None
    """Reason for the end of the booking, with notes; None while nothing has gone wrong."""
    notified_at: datetime | None = None
    """Time at which the rider was notified of the current state; never for a leg, whose trip notifies the rider."""
    leg: TripLeg | None = None
    """Place in a trip, whose outcome the booking is a part of; None for a booking of its own."""

    @property
    def rider_key(self) -> RiderKey:
        """Rider and Idempotency-Key, which identify the request that created the booking."""
        return RiderKey(self.ride.rider_id, self.key)

    @property
    def state(self) -> BookingState:
        """Current state."""
        return self.history[-1].state

    @property
    def is_settled(self) -> bool:
        """Whether the outcome is known; a confirmed booking may still be cancelled."""
        return self.state in SETTLED_STATES

    @property
    def is_over(self) -> bool:
        """Whether no transition is left."""
        return not TRANSITIONS[self.state]

    @property
    def accepted_at(self) -> datetime:
        """Time of the request."""
        return self.history[0].at

    @property
    def settled_at(self) -> datetime | None:
        """Time of the first settled state; a later cancellation does not change it."""
        return next((change.at for change in self.history if change.state in SETTLED_STATES), None)

    @property
    def slot(self) -> datetime | None:
        """Start of the quarter of an hour for which a driver is reserved; None without a driver."""
        pickup_at = self.ride.pickup_at
        return (
            pickup_at - timedelta(seconds=pickup_at.timestamp() % SLOT_DURATION.total_seconds())
            if self.driver
            else None
        )

    def priced(self, quote: Quote, at: datetime) -> Self:
        return self._with_state(BookingState.PRICED, at, quote=quote)

    def matched(self, driver: Driver, at: datetime) -> Self:
        return self._with_state(BookingState.MATCHED, at, driver=driver)

    def confirmed(self, at: datetime) -> Self:
        return self._with_state(BookingState.CONFIRMED, at)

    def ended(self, state: BookingState, reason: str, at: datetime) -> Self:
        return self._with_state(state, at, reason=reason)

    def notified(self, at: datetime) -> Self:
        return replace(self, notified_at=at)

    def with_note(self, note: str) -> Self:
        """Append a note to the reason."""
        return replace(self, reason="; ".join(part for part in (self.reason, note) if part))

    def _with_state(self, state: BookingState, at: datetime, **changes: Any) -> Self:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"booking {self.id} is {self.state} and cannot become {state}")
        return replace(self, history=(*self.history, StateChange(state=state, at=at)), notified_at=None, **changes)
