"""Laws of trips, as pure functions of what riders asked for and what the tables hold."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from prebook.contracts.ride import SETTLED_STATES, BookingState
from prebook.contracts.trip import TripCompletion, TripPolicy, TripState
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law

NOT_LOST = "accepted trips without an outcome = 0"
COMPLETED_ONCE = "trips that were completed, or notified about, more than once = 0"
LEGS = "legs requested = legs with an outcome that fits the outcome of their own trip"
GROUPS = "groups = complete + partial + open"
COMPENSATED = "drivers of legs that are not confirmed = 0"
SAME_STATE = "outcomes of trips that differ from a run without kills = 0"
NO_ORPHANS = "groups with all outcomes received and no result = 0"
IN_DATABASE = "aggregate in the database"
IN_MEMORY = "aggregate in memory"
COMPLETIONS = frozenset(TripState) - {TripState.REQUESTED, TripState.CANCELLED}
"""States that an aggregate gets by its completion, unless the rider cancels."""


class TripFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one trip in the services' tables."""

    key: str
    state: TripState
    policy: TripPolicy
    completed_by: TripCompletion | None
    history: tuple[TripState, ...]
    results: int
    """Outcomes of legs in the aggregate."""
    legs: tuple[BookingState, ...]
    """States of the bookings that are legs of the trip, in their order."""
    notices: int
    """Notices that the rider got about the trip."""
    leg_notices: int
    """Notices that the rider got about single legs: one too many each."""
    wrong_drivers: int
    """Drivers assigned to legs that are not confirmed."""


@dataclass(frozen=True)
class TripsSeen:
    """One run: keys of the trips that were accepted, legs requested in each, and the facts about all trips."""

    accepted: Sequence[str]
    legs_per_trip: int
    trips: Sequence[TripFacts]


def lost_trips(seen: TripsSeen) -> int:
    """Number of accepted trips that do not exist, or have no outcome."""
    settled = {trip.key for trip in seen.trips if trip.completed_by is not None}
    return len(set(seen.accepted) - settled)


def doubled_trips(seen: TripsSeen) -> int:
    """Number of trips beyond one for each key, of further completions, and of notices beyond one for each trip."""
    per_key = Counter(trip.key for trip in seen.trips)
    further_trips = sum(count - 1 for count in per_key.values())
    completions = sum(max(0, sum(state in COMPLETIONS for state in trip.history) - 1) for trip in seen.trips)
    notices = sum(max(0, trip.notices - 1) + trip.leg_notices for trip in seen.trips)
    return further_trips + completions + notices


def legs_out(seen: TripsSeen) -> int:
    """Number of legs with an outcome that fits the outcome of their trip."""
    return sum(_fitting_legs(trip) for trip in seen.trips)


def groups_by_status(trips: Iterable[TripFacts]) -> Mapping[str, int]:
    """Number of groups that are complete, partial and open, by their rows alone."""
    groups = Counter(
        "open" if trip.completed_by is None else "complete" if trip.results == len(trip.legs) else "partial"
        for trip in trips
    )
    return {status: groups[status] for status in ("complete", "partial", "open")}


def outcomes(seen: TripsSeen) -> dict[str, tuple[str, ...]]:
    """Return the outcome of each trip by key, without what depends on which of two legs was faster.

    Under ``all``, the first leg that is not confirmed ends the trip, and a second one may be cancelled or rejected.
    """
    return {trip.key: _outcome(trip) for trip in seen.trips}


def state_hash(seen: TripsSeen) -> str:
    """Return the SHA-256 of the outcomes of all trips, as hexadecimal digits."""
    return hashlib.sha256(msgspec.json.encode(sorted(outcomes(seen).items()))).hexdigest()


def trip_checks(seen: TripsSeen, undisturbed: TripsSeen) -> Iterable[LawCheck]:
    """Yield the checks of a run with kills beside one of the same seed without. Their keys are equal."""
    groups = groups_by_status(seen.trips)
    requested = len(seen.accepted) * seen.legs_per_trip
    expected = outcomes(undisturbed)
    differing = sum(expected.get(key) != outcome for key, outcome in outcomes(seen).items())
    wrong_drivers = sum(trip.wrong_drivers for trip in seen.trips)
    yield check_law(NOT_LOST, IN_DATABASE, ("lost", lost_trips(seen)), Relation.EQUAL, ("", 0))
    yield check_law(COMPLETED_ONCE, IN_DATABASE, ("doubled", doubled_trips(seen)), Relation.EQUAL, ("", 0))
    yield check_law(LEGS, IN_DATABASE, ("legs in", requested), Relation.EQUAL, ("legs out", legs_out(seen)))
    yield check_law(GROUPS, IN_DATABASE, ("groups", len(seen.accepted)), Relation.EQUAL, ("sum", sum(groups.values())))
    yield check_law(COMPENSATED, IN_DATABASE, ("drivers", wrong_drivers), Relation.EQUAL, ("", 0))
    yield check_law(SAME_STATE, IN_DATABASE, ("differing", differing), Relation.EQUAL, ("", 0))


def orphan_checks(seen: TripsSeen, completed_in_memory: Iterable[str]) -> Iterable[LawCheck]:
    """Yield the checks of both aggregators over the trips whose legs all had an outcome of their own.

    ``completed_in_memory``: keys of the trips that the aggregator in memory has completed.
    """
    whole = {trip.key for trip in seen.trips if trip.results == len(trip.legs)}
    open_in_database = {trip.key for trip in seen.trips if trip.key in whole and trip.completed_by is None}
    orphaned = whole - set(completed_in_memory)
    yield check_law(NO_ORPHANS, IN_DATABASE, ("orphaned", len(open_in_database)), Relation.EQUAL, ("", 0))
    yield check_law(
        NO_ORPHANS,
        IN_MEMORY,
        ("orphaned", len(orphaned)),
        Relation.EQUAL,
        ("", 0),
        expected=LawVerdict.VIOLATED,
    )


def _fitting_legs(trip: TripFacts) -> int:
    settled = sum(leg in SETTLED_STATES for leg in trip.legs)
    confirmed = sum(leg is BookingState.CONFIRMED for leg in trip.legs)
    match trip.state:
        case TripState.CONFIRMED:
            return confirmed
        case TripState.PARTLY_CONFIRMED:
            return settled if 0 < confirmed < len(trip.legs) else 0
        case TripState.REQUESTED:
            return 0
        case _:
            return settled - confirmed


def _outcome(trip: TripFacts) -> tuple[str, ...]:
    legs = trip.legs if trip.policy is TripPolicy.PARTIAL or trip.state is TripState.CONFIRMED else ()
    return trip.state, trip.completed_by or "", *legs
