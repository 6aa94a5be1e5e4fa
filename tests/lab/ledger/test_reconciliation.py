"""The ledger: every ride is in exactly one class, and every planted loss or duplicate is found and named."""

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.contracts.ride import SETTLED_STATES, BookingState
from prebook.lab.ledger.accounts import RideOutcome
from prebook.lab.ledger.discrepancies import DiscrepancyKind
from prebook.lab.ledger.reconciliation import Reconciliation, reconcile
from prebook.lab.load.samples import Sample
from tests.lab.ledger.accounts_builder import delivery_of, row, sample

ENDED = sorted(SETTLED_STATES)


def settled_and_notified(samples: list[Sample], state: BookingState = BookingState.CONFIRMED) -> Reconciliation:
    rows = [row(item, state, settled=1.0) for item in samples]
    return reconcile(samples, rows, [delivery_of(entry) for entry in rows])


def kinds(reconciliation: Reconciliation) -> list[DiscrepancyKind]:
    return [item.kind for item in reconciliation.discrepancies]


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (BookingState.CONFIRMED, RideOutcome.CONFIRMED),
        (BookingState.REJECTED, RideOutcome.REJECTED),
        (BookingState.CANCELLED, RideOutcome.REJECTED),
        (BookingState.EXPIRED, RideOutcome.EXPIRED),
        (BookingState.FAILED, RideOutcome.FAILED),
    ],
)
def test_a_settled_booking_is_in_the_class_of_its_state(state: BookingState, outcome: RideOutcome) -> None:
    reconciliation = settled_and_notified([sample()], state)
    assert reconciliation.accounts[0].outcome is outcome
    assert reconciliation.ledger_of("one_way").closes
    assert not reconciliation.discrepancies
    assert not reconciliation.pending


@dataclass(frozen=True)
class Ride:
    status: int | None
    state: BookingState | None
    deliveries: int


some_ride = st.builds(
    Ride,
    st.sampled_from([201, 202, 429, 503, 500, 422, None]),
    st.none() | st.sampled_from(BookingState),
    st.integers(0, 2),
)


@given(st.lists(some_ride, max_size=30))
def test_every_ride_is_in_exactly_one_class(rides: list[Ride]) -> None:
    samples = [sample(n, status=ride.status, error=None if ride.status else "timeout") for n, ride in enumerate(rides)]
    pairs = list(zip(samples, rides, strict=True))
    rows = [row(item, ride.state, settled=1.0) for item, ride in pairs if ride.state]
    deliveries = [
        delivery_of(row(item, ride.state), deliveries=ride.deliveries)
        for item, ride in pairs
        if ride.state and ride.deliveries
    ]
    ledger = reconcile(samples, rows, deliveries).ledger_of("one_way")
    assert ledger.offered == len(rides)
    assert ledger.offered == sum(getattr(ledger, outcome.value) for outcome in RideOutcome)
    assert ledger.lost == sum(is_lost(ride) for ride in rides)
    assert ledger.duplicated == sum(bool(ride.state) and ride.deliveries > 1 for ride in rides)


def is_lost(ride: Ride) -> bool:
    accepted_without_row = ride.status in {201, 202} and ride.state is None
    not_notified = ride.state in SETTLED_STATES and not ride.deliveries
    return accepted_without_row or not_notified


@pytest.mark.parametrize("status", [429, 503])
def test_a_refused_request_without_a_booking_is_refused(status: int) -> None:
    reconciliation = reconcile([sample(status=status)], [], [])
    assert reconciliation.ledger_of("one_way").refused == 1
    assert not reconciliation.pending


@pytest.mark.parametrize(("status", "error"), [(None, "timeout"), (None, "connection"), (500, None), (422, None)])
def test_any_other_failed_request_without_a_booking_is_failed(status: int | None, error: str | None) -> None:
    assert reconcile([sample(status=status, error=error)], [], []).ledger_of("one_way").failed == 1


def test_a_request_that_timed_out_counts_as_the_outcome_of_its_booking() -> None:
    reconciliation = settled_and_notified([sample(status=None, error="timeout")])
    assert reconciliation.ledger_of("one_way").confirmed == 1
    assert not reconciliation.discrepancies


def test_a_booking_that_is_not_settled_is_in_flight_and_the_ledger_does_not_close() -> None:
    reconciliation = reconcile([sample()], [row(sample(), BookingState.PRICED)], [])
    assert reconciliation.ledger_of("one_way").in_flight == 1
    assert not reconciliation.ledger_of("one_way").closes
    assert reconciliation.pending == 1


def test_a_booking_with_a_parked_message_is_dead_lettered() -> None:
    open_row = row(sample(), BookingState.PRICED)
    assert (
        reconcile([sample()], [open_row], [], dead_lettered={open_row.booking_id}).ledger_of("one_way").dead_lettered
        == 1
    )


def test_an_accepted_request_without_a_booking_is_lost() -> None:
    reconciliation = reconcile([sample()], [], [])
    assert kinds(reconciliation) == [DiscrepancyKind.MISSING_BOOKING]
    assert reconciliation.discrepancies[0].booking_id == "bk_one_way_0"
    assert reconciliation.ledger_of("one_way").lost == 1


def test_a_settled_booking_whose_rider_got_another_notice_is_lost() -> None:
    settled_row = row(sample(), BookingState.CONFIRMED, settled=1.0)
    reconciliation = reconcile([sample()], [settled_row], [delivery_of(settled_row, notice="expired")])
    assert kinds(reconciliation) == [DiscrepancyKind.NOT_NOTIFIED]


def test_two_bookings_with_one_key_are_a_duplicate() -> None:
    first = row(sample(), settled=1.0)
    second = msgspec.structs.replace(first, booking_id="bk_again", driver="d2")
    reconciliation = reconcile([sample()], [first, second], [delivery_of(first)])
    assert kinds(reconciliation) == [DiscrepancyKind.DUPLICATE_BOOKING]
    assert "bk_again" in reconciliation.discrepancies[0].detail


@pytest.mark.parametrize("notices", [[("confirmed", 2)], [("confirmed", 1), ("expired", 1)]])
def test_a_rider_notified_more_than_once_is_a_duplicate(notices: list[tuple[str, int]]) -> None:
    settled_row = row(sample(), settled=1.0)
    deliveries = [delivery_of(settled_row, notice=notice, deliveries=times) for notice, times in notices]
    assert kinds(reconcile([sample()], [settled_row], deliveries)) == [DiscrepancyKind.DUPLICATE_NOTIFICATION]


@pytest.mark.parametrize(
    ("notices", "is_duplicate"),
    [
        ([("cancelled", 1)], False),
        ([("confirmed", 1), ("cancelled", 1)], False),
        ([("confirmed", 2), ("cancelled", 1)], True),
        ([("confirmed", 1), ("cancelled", 2)], True),
        ([("expired", 1), ("cancelled", 1)], True),
    ],
)
def test_a_rider_who_cancels_may_be_notified_of_the_confirmation_before(
    notices: list[tuple[str, int]], is_duplicate: bool
) -> None:
    settled_row = row(sample(), BookingState.CANCELLED, settled=1.0)
    deliveries = [delivery_of(settled_row, notice=notice, deliveries=times) for notice, times in notices]
    assert kinds(reconcile([sample()], [settled_row], deliveries)) == (
        [DiscrepancyKind.DUPLICATE_NOTIFICATION] if is_duplicate else []
    )


def test_a_driver_booked_twice_in_a_slot_is_a_duplicate_also_across_scenarios() -> None:
    samples = [sample(0), sample(1)]
    rows = [msgspec.structs.replace(row(item, settled=1.0), driver="d1") for item in samples]
    both = reconcile(samples, rows, [delivery_of(entry) for entry in rows])
    later = reconcile(samples[1:], rows[1:], [delivery_of(rows[1])], earlier_rows=rows[:1])
    assert kinds(both) == kinds(later) == [DiscrepancyKind.DRIVER_DOUBLE_BOOKED]


def test_the_same_driver_in_another_slot_is_no_duplicate() -> None:
    samples = [sample(0), sample(1)]
    rows = [msgspec.structs.replace(row(item, settled=1.0), driver="d1") for item in samples]
    rows[1] = msgspec.structs.replace(rows[1], slot=rows[1].accepted_at.replace(hour=3))
    assert not reconcile(samples, rows, [delivery_of(entry) for entry in rows]).discrepancies


def test_a_booking_after_a_refusal_and_an_unexpected_booking_are_discrepancies() -> None:
    refusal = sample(0, status=503)
    never_offered = sample(9)
    rows = [row(item, settled=1.0) for item in (refusal, never_offered)]
    reconciliation = reconcile([refusal], rows, [delivery_of(entry) for entry in rows])
    assert kinds(reconciliation) == [DiscrepancyKind.BOOKED_AFTER_REFUSAL, DiscrepancyKind.UNEXPECTED_BOOKING]
    assert reconciliation.discrepancies[1].label == "one_way"


def test_each_plan_has_a_ledger_of_its_own() -> None:
    reconciliation = settled_and_notified(
        [sample(0, label="mixed"), sample(0, label="sync_api"), sample(1, label="sync_api")]
    )
    assert (reconciliation.ledger_of("mixed").offered, reconciliation.ledger_of("sync_api").offered) == (1, 2)
