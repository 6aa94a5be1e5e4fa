"""A trip: several rides that are booked together, and the aggregate of their outcomes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from prebook.booking.domain.booking import IllegalTransition, RiderKey
from prebook.contracts.plan import Plan
from prebook.contracts.ride import BookingState, Money
from prebook.contracts.trip import LegOutcome, TripCompletion, TripPolicy, TripState, TripStateChange
from prebook.patterns.aggregator import Aggregate, CompletenessCondition, all_parts, any_of, first_match

TRIP_TRANSITIONS: Mapping[TripState, frozenset[TripState]] = {
    TripState.REQUESTED: frozenset(TripState) - {TripState.REQUESTED},
    TripState.CONFIRMED: frozenset({TripState.CANCELLED}),
    TripState.PARTLY_CONFIRMED: frozenset({TripState.CANCELLED}),
    TripState.REJECTED: frozenset(),
    TripState.EXPIRED: frozenset(),
    TripState.CANCELLED: frozenset(),
}
TRIP_ID_PREFIX = "tr_"
"""Beginning of every trip id, and of no booking id."""
LegAggregate = Aggregate[LegOutcome, TripCompletion]


def is_confirmed(outcome: LegOutcome) -> bool:
    """Whether the leg is a ride."""
    return outcome.state is BookingState.CONFIRMED


CONDITIONS: Mapping[TripPolicy, CompletenessCondition[LegOutcome, TripCompletion]] = {
    TripPolicy.ALL: any_of(
        first_match(lambda outcome: not is_confirmed(outcome), TripCompletion.FAILED_LEG),
        all_parts(TripCompletion.ALL_LEGS),
    ),
    TripPolicy.PARTIAL: all_parts(TripCompletion.ALL_LEGS),
}
"""Completeness condition of each policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """An immutable trip; every transition returns the next one or raises IllegalTransition."""

    id: str
    key: str
    """Idempotency-Key of the request that created it."""
    rider_id: str
    plan: Plan
    policy: TripPolicy
    deadline_s: float
    """Seconds from the request until the trip has its outcome, whatever its legs do."""
    report_url: str | None = None
    """URL of the rider's own system, which receives every outcome."""
    legs: LegAggregate
    history: tuple[TripStateChange, ...]
    """All changes, oldest first; the first one is to ``requested``."""
    reason: str | None = None
    """Reason for legs that are not confirmed, with notes; None while nothing has gone wrong."""
    notified_at: datetime | None = None
    """Time at which the rider was notified of the current state."""

    @property
    def rider_key(self) -> RiderKey:
        """Rider and Idempotency-Key, which identify the request that created the trip."""
        return RiderKey(self.rider_id, self.key)

    @property
    def state(self) -> TripState:
        """Current state."""
        return self.history[-1].state

    @property
    def is_settled(self) -> bool:
        """Whether the outcome is known; a confirmed trip may still be cancelled."""
        return self.state is not TripState.REQUESTED

    @property
    def is_over(self) -> bool:
        """Whether no transition is left."""
        return not TRIP_TRANSITIONS[self.state]

    @property
    def accepted_at(self) -> datetime:
        """Time of the request."""
        return self.history[0].at

    @property
    def settled_at(self) -> datetime | None:
        """Time of the first outcome; a later cancellation does not change it."""
        return self.history[1].at if self.is_settled else None

    @property
    def fare(self) -> Money | None:
        """Total fare of the legs that the rider will ride; None without such a leg."""
        if self.state not in {TripState.CONFIRMED, TripState.PARTLY_CONFIRMED}:
            return None
        fares = [outcome.fare for outcome in self.legs.results.values() if is_confirmed(outcome) and outcome.fare]
        return Money(cents=sum(fare.cents for fare in fares), currency=fares[0].currency) if fares else None

    def with_legs(self, legs: LegAggregate) -> Self:
        """Return the trip with other outcomes of its legs."""
        return replace(self, legs=legs)

    def ended(self, state: TripState, reason: str | None, at: datetime) -> Self:
        """Return the trip in the next state."""
        if state not in TRIP_TRANSITIONS[self.state]:
            raise IllegalTransition(f"trip {self.id} is {self.state} and cannot become {state}")
        return self._with_change(TripStateChange(state=state, at=at), reason=reason)

    def notified(self, at: datetime) -> Self:
        """Return the trip whose rider knows its state."""
        return replace(self, notified_at=at)

    def with_note(self, note: str) -> Self:
        """Append a note to the reason."""
        return replace(self, reason="; ".join(part for part in (self.reason, note) if part))

    def _with_change(self, change: TripStateChange, **changes: Any) -> Self:
        return replace(self, history=(*self.history, change), notified_at=None, **changes)
