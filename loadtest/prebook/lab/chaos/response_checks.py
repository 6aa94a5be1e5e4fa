"""Checks of booking's responses to riders against its rows. Pure."""

from collections.abc import Iterator, Sequence

from prebook.contracts.booking import LedgerEntry
from prebook.contracts.ride import SETTLED_STATES, BookingState
from prebook.lab.chaos.evidence import Cancellation, Evidence
from prebook.lab.chaos.repeated_keys import Repetition, contract_violations, repetitions_by_key
from prebook.lab.chaos.unanswered_checks import Unanswered, waiting_time
from prebook.lab.chaos.violations import Violation, ViolationKind
from prebook.lab.ledger.accounts import group_by
from prebook.lab.load.samples import ACCEPTED_STATUSES, REFUSED_STATUSES, Sample

SETTLED_STATUS = 201
CANCELLED_STATUS = 200
BOOKING_OVER_STATUS = 409
UNCANCELLABLE_STATES = frozenset({BookingState.REJECTED, BookingState.EXPIRED, BookingState.FAILED})
"""States in which a rider cannot cancel a booking any more."""
PRICED_STATES = frozenset({BookingState.PRICED, BookingState.MATCHED, BookingState.CONFIRMED})
"""States that a booking has with a fare only."""


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
    explainer = Unanswered(evidence).explainer
    samples = {sample.key: sample for sample in evidence.first_samples}
    rows = group_by(evidence.reconciliation.rows, lambda row: row.idempotency_key)
    for key, repetitions in repetitions_by_key(evidence.repetitions).items():
        booking_ids = [row.booking_id for row in rows.get(key, ())]
        is_disturbed = explainer.disturbs_booking(waiting_time(samples[key]))
        for detail in contract_violations(samples[key], repetitions, booking_ids, is_disturbed=is_disturbed):
            yield Violation(ViolationKind.CONTRADICTORY, key, detail)


def check_accepting_responses(evidence: Evidence) -> Iterator[Violation]:
    """Every response that accepts a request names a state that its booking has had, and its fare."""
    rows = {row.booking_id: row for row in evidence.reconciliation.rows}
    responses: tuple[Sample | Repetition, ...] = (*evidence.first_samples, *evidence.repetitions)
    for response in responses:
        row = rows.get(response.booking_id or "")
        if row and response.accepted:
            states = evidence.database.histories.get(row.booking_id, ())
            for detail in response_contradictions(response, row, states):
                yield Violation(ViolationKind.CONTRADICTORY, row.booking_id, detail)


def response_contradictions(response: Sample | Repetition, row: LedgerEntry, states: Sequence[str]) -> Iterator[str]:
    """Yield how an accepting response contradicts the booking. ``states``: the booking's history."""
    state = response.named_state
    if state not in states:
        yield f"a response names the state {state}, but the booking's states are {', '.join(states) or 'unknown'}"
    elif (state in SETTLED_STATES) != (response.status == SETTLED_STATUS):
        yield f"a response with status {response.status} names the state {state}"
    is_priced = state in PRICED_STATES
    if response.named_fare_cents != row.fare_cents and (is_priced or response.named_fare_cents is not None):
        yield f"a response names a fare of {response.named_fare_cents} cents, but the fare is {row.fare_cents} cents"


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

    After 503, or without a response, a cancellation may have taken effect or not; ``check_uncertain_cancellations``
    judges whether a fault can have caused that.
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
