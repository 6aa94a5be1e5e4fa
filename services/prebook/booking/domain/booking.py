"""A ride booked ahead, and which turns its life may take."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

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
    """A booking in this state cannot go there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ride:
    """What the rider wants."""

    rider_id: str
    pickup: Place
    dropoff: Place
    pickup_at: datetime
    vehicle_class: VehicleClass
    passengers: int
    report_url: str | None = None
    """Where the rider's own system wants to be told how it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What the ride costs, and until when it may be confirmed at that."""

    fare: Money
    valid_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """Every method returns the next booking."""

    id: str
    key: str
    """The rider's own name for this request; the same key again is the same request."""
    ride: Ride
    plan: Plan
    history: tuple[StateChange, ...]
    """From the first change, to ``requested``, to the latest one."""
    quote: Quote | None = None
    driver: Driver | None = None
    reason: str | None = None
    """Why it is not, or no longer, on its way to a ride."""
    notified_at: datetime | None = None
    """When the rider was told of the latest change."""

    @property
    def state(self) -> BookingState:
        return self.history[-1].state

    @property
    def is_settled(self) -> bool:
        return self.state in SETTLED_STATES

    @property
    def is_over(self) -> bool:
        """Nothing can happen to it any more."""
        return not TRANSITIONS[self.state]

    @property
    def accepted_at(self) -> datetime:
        return self.history[0].at

    @property
    def settled_at(self) -> datetime | None:
        """When its outcome was first known; a cancellation after that does not move it."""
        return next((change.at for change in self.history if change.state in SETTLED_STATES), None)

    @property
    def slot(self) -> datetime | None:
        """Start of the quarter of an hour in which a driver is held for it."""
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
        """The rider could not be told; noted beside the reason that is there."""
        return replace(self, reason="; ".join(part for part in (self.reason, note) if part))

    def _with_state(self, state: BookingState, at: datetime, **changes: Any) -> Self:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"booking {self.id} is {self.state} and cannot become {state}")
        return replace(self, history=(*self.history, StateChange(state=state, at=at)), notified_at=None, **changes)
