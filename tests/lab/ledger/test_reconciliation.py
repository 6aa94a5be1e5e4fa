"""The ledger: every ride in exactly one class, and every planted loss or double is found and named."""

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.contracts.booking import SETTLED_STATES, BookingState
from prebook.lab.ledger.accounts import RideOutcome
from prebook.lab.ledger.discrepancies import DiscrepancyKind
from prebook.lab.ledger.reconciliation import Reconciliation, reconcile
from prebook.lab.load.samples import Sample
from tests.lab.ledger.accounts_builder import row, sample, told

ENDED = sorted(SETTLED_STATES)


def whole(samples: list[Sample], state: BookingState = BookingState.CONFIRMED) -> Reconciliation:
    rows = [row(each, state, settled=1.0) for each in samples]
    return reconcile(samples, rows, [told(each) for each in rows])


def kinds(books: Reconciliation) -> list[DiscrepancyKind]:
    return [item.kind for item in books.discrepancies]


@pytest.mark.parametrize(
    ("state", "fate"),
    [
        (BookingState.CONFIRMED, RideOutcome.CONFIRMED),
        (BookingState.REJECTED, RideOutcome.REJECTED),
        (BookingState.CANCELLED, RideOutcome.REJECTED),
        (BookingState.EXPIRED, RideOutcome.EXPIRED),
        (BookingState.FAILED, RideOutcome.FAILED),
    ],
)
def test_a_settled_booking_is_in_the_class_of_its_state(state: BookingState, fate: RideOutcome) -> None:
    books = whole([sample()], state)
    assert books.accounts[0].outcome is fate
    assert books.ledger_of("one_way").closes
    assert not books.discrepancies
    assert not books.pending


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
def test_whatever_happened_every_ride_is_in_exactly_one_class(rides: list[Ride]) -> None:
    samples = [sample(n, status=each.status, error=None if each.status else "timeout") for n, each in enumerate(rides)]
    pairs = list(zip(samples, rides, strict=True))
    rows = [row(made, each.state, settled=1.0) for made, each in pairs if each.state]
    deliveries = [
        told(row(made, each.state), deliveries=each.deliveries)
        for made, each in pairs
        if each.state and each.deliveries
    ]
    ledger = reconcile(samples, rows, deliveries).ledger_of("one_way")
    assert ledger.offered == len(rides)
    assert ledger.offered == sum(getattr(ledger, fate.value) for fate in RideOutcome)
    assert ledger.lost == sum(lost(each) for each in rides)
    assert ledger.duplicated == sum(bool(each.state) and each.deliveries > 1 for each in rides)


def lost(each: Ride) -> bool:
    promised_without_row = each.status in {201, 202} and each.state is None
    untold = each.state in SETTLED_STATES and not each.deliveries
    return promised_without_row or untold


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_without_a_row_is_refused(status: int) -> None:
    books = reconcile([sample(status=status)], [], [])
    assert books.ledger_of("one_way").refused == 1
    assert not books.pending


@pytest.mark.parametrize(("status", "error"), [(None, "timeout"), (None, "connection"), (500, None), (422, None)])
def test_any_other_answer_without_a_row_is_failed(status: int | None, error: str | None) -> None:
    assert reconcile([sample(status=status, error=error)], [], []).ledger_of("one_way").failed == 1


def test_a_timeout_whose_booking_went_on_counts_as_what_became_of_it() -> None:
    books = whole([sample(status=None, error="timeout")])
    assert books.ledger_of("one_way").confirmed == 1
    assert not books.discrepancies


def test_a_booking_still_open_is_in_flight_and_the_ledger_does_not_close() -> None:
    books = reconcile([sample()], [row(sample(), BookingState.PRICED)], [])
    assert books.ledger_of("one_way").in_flight == 1
    assert not books.ledger_of("one_way").closes
    assert books.pending == 1


def test_a_booking_known_to_be_parked_is_parked() -> None:
    open_row = row(sample(), BookingState.PRICED)
    assert (
        reconcile([sample()], [open_row], [], dead_lettered={open_row.booking_id}).ledger_of("one_way").dead_lettered
        == 1
    )


def test_a_promise_without_a_row_is_lost() -> None:
    books = reconcile([sample()], [], [])
    assert kinds(books) == [DiscrepancyKind.MISSING_BOOKING]
    assert books.discrepancies[0].booking_id == "bk_one_way_0"
    assert books.ledger_of("one_way").lost == 1


def test_a_settled_booking_whose_rider_was_told_something_else_is_lost() -> None:
    ended = row(sample(), BookingState.CONFIRMED, settled=1.0)
    books = reconcile([sample()], [ended], [told(ended, notice="expired")])
    assert kinds(books) == [DiscrepancyKind.NOT_NOTIFIED]


def test_two_rows_of_one_key_are_a_double() -> None:
    first = row(sample(), settled=1.0)
    second = msgspec.structs.replace(first, booking_id="bk_again", driver="d2")
    books = reconcile([sample()], [first, second], [told(first)])
    assert kinds(books) == [DiscrepancyKind.DUPLICATE_BOOKING]
    assert "bk_again" in books.discrepancies[0].detail


@pytest.mark.parametrize("notices", [[("confirmed", 2)], [("confirmed", 1), ("expired", 1)]])
def test_a_rider_told_more_than_once_is_a_double(notices: list[tuple[str, int]]) -> None:
    ended = row(sample(), settled=1.0)
    lines = [told(ended, notice=notice, deliveries=times) for notice, times in notices]
    assert kinds(reconcile([sample()], [ended], lines)) == [DiscrepancyKind.DUPLICATE_NOTIFICATION]


@pytest.mark.parametrize(
    ("notices", "again"),
    [
        ([("cancelled", 1)], False),
        ([("confirmed", 1), ("cancelled", 1)], False),
        ([("confirmed", 2), ("cancelled", 1)], True),
        ([("confirmed", 1), ("cancelled", 2)], True),
        ([("expired", 1), ("cancelled", 1)], True),
    ],
)
def test_a_rider_who_cancels_may_have_been_told_of_the_ride_before(notices: list[tuple[str, int]], again: bool) -> None:
    ended = row(sample(), BookingState.CANCELLED, settled=1.0)
    lines = [told(ended, notice=notice, deliveries=times) for notice, times in notices]
    assert kinds(reconcile([sample()], [ended], lines)) == ([DiscrepancyKind.DUPLICATE_NOTIFICATION] if again else [])


def test_a_driver_given_away_twice_in_a_slot_is_a_double_also_across_scenarios() -> None:
    samples = [sample(0), sample(1)]
    rows = [msgspec.structs.replace(row(each, settled=1.0), driver="d1") for each in samples]
    both = reconcile(samples, rows, [told(each) for each in rows])
    later = reconcile(samples[1:], rows[1:], [told(rows[1])], earlier_rows=rows[:1])
    assert kinds(both) == kinds(later) == [DiscrepancyKind.DRIVER_DOUBLE_BOOKED]


def test_the_same_driver_at_another_time_is_no_double() -> None:
    samples = [sample(0), sample(1)]
    rows = [msgspec.structs.replace(row(each, settled=1.0), driver="d1") for each in samples]
    rows[1] = msgspec.structs.replace(rows[1], slot=rows[1].accepted_at.replace(hour=3))
    assert not reconcile(samples, rows, [told(each) for each in rows]).discrepancies


def test_a_refusal_with_a_row_and_a_row_never_offered_are_contradictions() -> None:
    refusal = sample(0, status=503)
    stranger = sample(9)
    rows = [row(each, settled=1.0) for each in (refusal, stranger)]
    books = reconcile([refusal], rows, [told(each) for each in rows])
    assert kinds(books) == [DiscrepancyKind.BOOKED_AFTER_REFUSAL, DiscrepancyKind.UNEXPECTED_BOOKING]
    assert books.discrepancies[1].label == "one_way"


def test_plans_are_kept_apart() -> None:
    books = whole([sample(0, label="mixed"), sample(0, label="sync_api"), sample(1, label="sync_api")])
    assert (books.ledger_of("mixed").offered, books.ledger_of("sync_api").offered) == (1, 2)
