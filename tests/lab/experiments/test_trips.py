"""Laws of the trips experiment: each defect breaks exactly its law. The experiment itself runs in its quick size."""

import msgspec
import pytest

from prebook.contracts.booking import RideRequest
from prebook.contracts.ride import BookingState
from prebook.contracts.trip import TripCompletion, TripPolicy, TripState
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.trips.laws import (
    COMPENSATED,
    COMPLETED_ONCE,
    GROUPS,
    LEGS,
    NO_ORPHANS,
    NOT_LOST,
    SAME_STATE,
    TripFacts,
    TripsSeen,
    groups_by_status,
    orphan_checks,
    state_hash,
    trip_checks,
)
from prebook.lab.experiments.trips.riders import TOO_SHORT_EVERY, trip_request
from prebook.lab.load.rides import campaign_week
from tests.booking.booking_suite import NOW

RIDE = BookingState.CONFIRMED
CONFIRMED = TripFacts(
    key="1",
    state=TripState.CONFIRMED,
    policy=TripPolicy.ALL,
    completed_by=TripCompletion.ALL_LEGS,
    history=(TripState.REQUESTED, TripState.CONFIRMED),
    results=3,
    legs=(RIDE, RIDE, RIDE),
    notices=1,
    leg_notices=0,
    wrong_drivers=0,
)
REJECTED = msgspec.structs.replace(
    CONFIRMED,
    key="2",
    state=TripState.REJECTED,
    completed_by=TripCompletion.FAILED_LEG,
    history=(TripState.REQUESTED, TripState.REJECTED),
    results=1,
    legs=(BookingState.CANCELLED, BookingState.REJECTED, BookingState.CANCELLED),
)
PARTLY = msgspec.structs.replace(
    CONFIRMED,
    key="3",
    state=TripState.PARTLY_CONFIRMED,
    policy=TripPolicy.PARTIAL,
    history=(TripState.REQUESTED, TripState.PARTLY_CONFIRMED),
    legs=(RIDE, RIDE, BookingState.REJECTED),
)
ALL = (CONFIRMED, REJECTED, PARTLY)
KEYS = ("1", "2", "3")


def violated(*trips: TripFacts) -> set[str]:
    checks = trip_checks(TripsSeen(KEYS, 3, trips), TripsSeen(KEYS, 3, ALL))
    return {check.law for check in checks if check.verdict is LawVerdict.VIOLATED}


def changed(trip: TripFacts, **changes: object) -> TripFacts:
    return msgspec.structs.replace(trip, **changes)


def test_a_run_without_a_defect_keeps_every_law() -> None:
    assert violated(*ALL) == set()
    assert groups_by_status(ALL) == {"complete": 2, "partial": 1, "open": 0}


@pytest.mark.parametrize(
    ("trips", "laws"),
    [
        # A trip that is open forever has neither its outcome nor those of its legs.
        (
            (CONFIRMED, REJECTED, changed(PARTLY, completed_by=None, state=TripState.REQUESTED)),
            {NOT_LOST, LEGS, SAME_STATE},
        ),
        ((CONFIRMED, REJECTED), {NOT_LOST, LEGS, GROUPS}),
        ((changed(CONFIRMED, notices=2), REJECTED, PARTLY), {COMPLETED_ONCE}),
        ((changed(CONFIRMED, leg_notices=1), REJECTED, PARTLY), {COMPLETED_ONCE}),
        (
            (changed(CONFIRMED, history=(*CONFIRMED.history, TripState.REJECTED)), REJECTED, PARTLY),
            {COMPLETED_ONCE},
        ),
        ((CONFIRMED, REJECTED, PARTLY, PARTLY), {COMPLETED_ONCE, LEGS, GROUPS}),
        # A compensation that was lost: a leg is still a ride.
        ((CONFIRMED, changed(REJECTED, legs=(RIDE, BookingState.REJECTED, BookingState.CANCELLED)), PARTLY), {LEGS}),
        ((CONFIRMED, changed(REJECTED, wrong_drivers=1), PARTLY), {COMPENSATED}),
        (
            (CONFIRMED, REJECTED, changed(PARTLY, legs=(RIDE, BookingState.REJECTED, BookingState.REJECTED))),
            {SAME_STATE},
        ),
    ],
)
def test_each_defect_breaks_exactly_its_laws(trips: tuple[TripFacts, ...], laws: set[str]) -> None:
    assert violated(*trips) == laws


def test_which_of_two_legs_was_faster_does_not_change_the_state() -> None:
    other = changed(REJECTED, legs=(BookingState.REJECTED, BookingState.REJECTED, BookingState.CANCELLED), results=2)
    assert state_hash(TripsSeen(KEYS, 3, (CONFIRMED, other, PARTLY))) == state_hash(TripsSeen(KEYS, 3, ALL))


@pytest.mark.parametrize(
    ("completed", "orphaned"), [(("1", "3"), 0), (("1",), 1), ((), 2)], ids=["none", "one", "both"]
)
def test_groups_with_all_outcomes_that_memory_has_lost_are_orphaned(completed: tuple[str, ...], orphaned: int) -> None:
    in_database, in_memory = orphan_checks(TripsSeen(KEYS, 3, ALL), completed)
    assert (in_database.law, in_database.verdict) == (NO_ORPHANS, LawVerdict.HELD)
    assert in_memory.left.value == orphaned
    assert in_memory.is_as_expected == (orphaned > 0)


def test_the_trips_of_a_seed_are_the_same_in_every_run() -> None:
    week = campaign_week(NOW)
    trips = [trip_request(7, number, week) for number in range(24)]
    assert trips == [trip_request(7, number, week) for number in range(24)]
    assert {len(trip.legs) for trip in trips} == {3}
    assert all(trip.legs == tuple(sorted(trip.legs, key=lambda leg: leg.pickup_at)) for trip in trips)
    too_short = [number for number, trip in enumerate(trips) if any(_is_short(leg) for leg in trip.legs)]
    assert too_short == list(range(0, 24, TOO_SHORT_EVERY))
    assert {trip.policy for trip in trips} == set(TripPolicy)


def _is_short(leg: RideRequest) -> bool:
    return abs(leg.pickup.lat - leg.dropoff.lat) < 0.001 and leg.pickup.lon == leg.dropoff.lon
