"""A ride booked ahead, and which turns its life may take."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from prebook.contracts.booking import SETTLED, Change, Driver, State
from prebook.contracts.plan import Plan
from prebook.contracts.ride import Money, Place, VehicleClass

_ENDS_EARLY = frozenset({State.REJECTED, State.EXPIRED, State.FAILED, State.CANCELLED})

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.REQUESTED: _ENDS_EARLY | {State.PRICED},
    State.PRICED: _ENDS_EARLY | {State.MATCHED},
    State.MATCHED: frozenset({State.CONFIRMED, State.EXPIRED, State.CANCELLED}),
    State.CONFIRMED: frozenset({State.CANCELLED}),
    State.REJECTED: frozenset(),
    State.EXPIRED: frozenset(),
    State.CANCELLED: frozenset(),
    State.FAILED: frozenset(),
}

SLOT = timedelta(minutes=15)


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
    report_to: str | None = None
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
    history: tuple[Change, ...]
    """From the first change, to ``requested``, to the latest one."""
    quote: Quote | None = None
    driver: Driver | None = None
    reason: str | None = None
    """Why it is not, or no longer, on its way to a ride."""
    notified_at: datetime | None = None
    """When the rider was told of the latest change."""

    @property
    def state(self) -> State:
        return self.history[-1].state

    @property
    def is_settled(self) -> bool:
        return self.state in SETTLED

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
        return next((change.at for change in self.history if change.state in SETTLED), None)

    @property
    def slot(self) -> datetime | None:
        """Start of the quarter of an hour in which a driver is held for it."""
        pickup_at = self.ride.pickup_at
        return pickup_at - timedelta(seconds=pickup_at.timestamp() % SLOT.total_seconds()) if self.driver else None

    def priced(self, quote: Quote, at: datetime) -> Self:
        return self._moved(State.PRICED, at, quote=quote)

    def matched(self, driver: Driver, at: datetime) -> Self:
        return self._moved(State.MATCHED, at, driver=driver)

    def confirmed(self, at: datetime) -> Self:
        return self._moved(State.CONFIRMED, at)

    def ended(self, state: State, reason: str, at: datetime) -> Self:
        return self._moved(state, at, reason=reason)

    def told(self, at: datetime) -> Self:
        return replace(self, notified_at=at)

    def untold(self, note: str) -> Self:
        """The rider could not be told; noted beside the reason that is there."""
        return replace(self, reason="; ".join(part for part in (self.reason, note) if part))

    def _moved(self, state: State, at: datetime, **news: Any) -> Self:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"booking {self.id} is {self.state} and cannot become {state}")
        return replace(self, history=(*self.history, Change(state=state, at=at)), notified_at=None, **news)
