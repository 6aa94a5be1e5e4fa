"""Checks of booking's responses to riders against its rows. Pure."""

from collections.abc import Iterator, Sequence

from prebook.contracts.ride import BookingState
from prebook.lab.chaos.evidence import Cancellation, Evidence
from prebook.lab.chaos.repeated_keys import contract_violations, repetitions_by_key
from prebook.lab.chaos.violations import Violation, ViolationKind
from prebook.lab.ledger.accounts import group_by
from prebook.lab.load.samples import ACCEPTED_STATUSES, REFUSED_STATUSES

CANCELLED_STATUS = 200
BOOKING_OVER_STATUS = 409
UNCANCELLABLE_STATES = frozenset({BookingState.REJECTED, BookingState.EXPIRED, BookingState.FAILED})
"""States in which a rider cannot cancel a booking any more."""


def check_statuses(evidence: Evidence) -> Iterator[Violation]:
    """Every request is accepted, refused with 429 or 503, or unanswered: the requests are valid.

    ``check_silence`` judges the unanswered ones.
    """
    for account in evidence.reconciliation.accounts:
        status = account.sample.status
        if status is not None and status not in ACCEPTED_STATUSES | REFUSED_STATUSES:
            subject = account.booking_id or account.sample.key
            yield Violation(ViolationKind.CONTRADICTORY, subject, f"a valid request was answered with {status}")


def check_repeated_keys(evidence: Evidence) -> Iterator[Violation]:
    """Every response to a repeated Idempotency-Key keeps the contract of the key."""
    samples = {sample.key: sample for sample in evidence.first_samples}
    rows = group_by(evidence.reconciliation.rows, lambda row: row.idempotency_key)
    for key, repetitions in repetitions_by_key(evidence.repetitions).items():
        booking_ids = [row.booking_id for row in rows.get(key, ())]
        for detail in contract_violations(samples[key], repetitions, booking_ids):
            yield Violation(ViolationKind.CONTRADICTORY, key, detail)


def check_cancellations(evidence: Evidence) -> Iterator[Violation]:
    """A cancellation takes effect if and only if its response says so, and nothing else cancels a booking."""
    histories = evidence.database.histories
    requested = {cancellation.booking_id for cancellation in evidence.cancellations}
    for cancellation in evidence.cancellations:
        detail = cancellation_fault(cancellation, histories.get(cancellation.booking_id, ()))
        if detail:
            yield Violation(ViolationKind.CONTRADICTORY, cancellation.booking_id, detail)
    for booking, states in histories.items():
        if BookingState.CANCELLED in states and booking not in requested:
            yield Violation(ViolationKind.CONTRADICTORY, booking, "cancelled, but its rider has not asked for that")


def cancellation_fault(cancellation: Cancellation, states: Sequence[str]) -> str | None:
    """Return how the response contradicts ``states``, the booking's history; None if it does not.

    After 503, or without a response, a cancellation may have taken effect or not.
    """
    is_cancelled = BookingState.CANCELLED in states
    last = states[-1] if states else "unknown"
    status = cancellation.status
    if status == CANCELLED_STATUS:
        return None if is_cancelled else f"a cancellation was answered with 200, but the booking is {last}"
    if status == BOOKING_OVER_STATUS:
        is_over = last in UNCANCELLABLE_STATES
        return None if is_over else f"a cancellation was answered with 409, but the booking is {last}"
    if status is None or status in REFUSED_STATUSES:
        return None
    return f"a cancellation was answered with {status}"
