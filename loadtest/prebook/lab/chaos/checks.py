"""Invariants of a chaos run, one check each, over single bookings or over all of them. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from prebook.contracts.booking import LedgerEntry
from prebook.contracts.ride import SETTLED_STATES, BookingState
from prebook.lab.chaos.callbacks import find_callback_violations
from prebook.lab.chaos.database import DriverAssignment
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.chaos.message_checks import check_expiries, check_offers, check_receipts, check_send_order
from prebook.lab.chaos.response_checks import (
    check_accepting_responses,
    check_cancellations,
    check_repeated_keys,
    check_statuses,
)
from prebook.lab.chaos.unanswered_checks import (
    check_ends,
    check_silence,
    check_uncertain_cancellations,
    check_uncertain_refusals,
)
from prebook.lab.chaos.violations import Violation, ViolationKind
from prebook.lab.ledger import discrepancies
from prebook.lab.ledger.accounts import RideAccount

TRANSITIONS: Mapping[str, frozenset[str]] = {
    BookingState.REQUESTED: frozenset({BookingState.PRICED, *SETTLED_STATES - {BookingState.CONFIRMED}}),
    BookingState.PRICED: frozenset({BookingState.MATCHED, *SETTLED_STATES - {BookingState.CONFIRMED}}),
    BookingState.MATCHED: frozenset({BookingState.CONFIRMED, BookingState.EXPIRED, BookingState.CANCELLED}),
    BookingState.CONFIRMED: frozenset({BookingState.CANCELLED}),
}
"""Permitted transitions of a booking's state; a state that is no key is terminal."""


def find_violations(evidence: Evidence) -> Iterator[Violation]:
    """Yield the violations that all checks find in ``evidence``."""
    for check in CHECKS:
        yield from check(evidence)


def check_sources(evidence: Evidence) -> Iterator[Violation]:
    """Load generator, booking and notification agree about every ride."""
    for discrepancy in evidence.reconciliation.discrepancies:
        subject = discrepancy.booking_id or discrepancy.key
        yield Violation(violation_kind(discrepancy.kind), subject, discrepancy.detail)


def violation_kind(kind: discrepancies.DiscrepancyKind) -> ViolationKind:
    """Return the kind of violation that a discrepancy between two sources amounts to."""
    if kind in discrepancies.LOST_KINDS:
        return ViolationKind.LOST
    return ViolationKind.DUPLICATED if kind in discrepancies.DUPLICATED_KINDS else ViolationKind.CONTRADICTORY


def check_settled(evidence: Evidence) -> Iterator[Violation]:
    """Every accepted booking is settled."""
    for row in ledger_rows(evidence):
        if row.state not in SETTLED_STATES:
            yield Violation(ViolationKind.STUCK, row.booking_id, f"still {row.state} when the deadline was over")


def check_pending(evidence: Evidence) -> Iterator[Violation]:
    """No settled booking has an unsent message or an outstanding reply."""
    pending = {trace.booking_id: trace for trace in evidence.database.pending}
    for row in ledger_rows(evidence):
        trace = pending.get(row.booking_id)
        if trace and row.state in SETTLED_STATES:
            detail = f"{trace.message_id} of {trace.service} is still unsent or without a reply"
            yield Violation(ViolationKind.STUCK, row.booking_id, detail)


def check_abandoned(evidence: Evidence) -> Iterator[Violation]:
    """No relay has abandoned a message of the run's bookings."""
    for trace in evidence.database.abandoned:
        detail = f"{trace.service} will never send {trace.message_id}: {trace.error or 'no error is recorded'}"
        yield Violation(ViolationKind.LOST, trace.booking_id, detail)


def check_charges(evidence: Evidence) -> Iterator[Violation]:
    """Every confirmed booking has its discount decided, and no other settled booking keeps a discount."""
    discounts = evidence.database.discounts
    for row in ledger_rows(evidence):
        discount = discounts.get(row.booking_id)
        if row.state is BookingState.CONFIRMED and discount not in {"granted", "none_left"}:
            yield Violation(
                ViolationKind.LOST,
                row.booking_id,
                f"confirmed, but the state of its discount is {discount or 'unknown'}",
            )
        if row.state in SETTLED_STATES - {BookingState.CONFIRMED} and discount == "granted":
            yield Violation(ViolationKind.DUPLICATED, row.booking_id, f"{row.state}, but its discount is still granted")


def check_campaign_counter(evidence: Evidence) -> Iterator[Violation]:
    """The campaign's counter equals the number of granted discounts."""
    counted = evidence.database.granted_count
    rows = evidence.database.granted_rows
    if counted != rows:
        kind = ViolationKind.DUPLICATED if counted > rows else ViolationKind.LOST
        yield Violation(kind, "campaign", f"pricing counts {counted} granted discounts and has {rows} rows of them")


def check_fares(evidence: Evidence) -> Iterator[Violation]:
    """One ride has the same fare under every plan, apart from the discount."""
    prices: dict[tuple[int, str], LedgerEntry] = {}
    for account in evidence.reconciliation.accounts:
        row = account.row
        if row is None or row.state is not BookingState.CONFIRMED:
            continue
        discount = evidence.database.discounts.get(row.booking_id, "")
        first = prices.setdefault((account.sample.ride, discount), row)
        if first.fare_cents != row.fare_cents:
            detail = f"{row.fare_cents} cents, but {first.booking_id} costs {first.fare_cents} cents for the same ride"
            yield Violation(ViolationKind.CONTRADICTORY, row.booking_id, detail)


def check_assignments(evidence: Evidence) -> Iterator[Violation]:
    """Matching and fleets keep the driver of every confirmed booking, no other driver, and no slot twice."""
    confirmed = {row.booking_id: row.driver for row in ledger_rows(evidence) if row.state is BookingState.CONFIRMED}
    for service, slots in (("matching", evidence.database.assigned), ("fleets", evidence.database.reserved)):
        yield from assignment_violations(service, slots, confirmed)


def assignment_violations(
    service: str, assignments: Sequence[DriverAssignment], confirmed: Mapping[str, str | None]
) -> Iterator[Violation]:
    """Compare the assignments that ``service`` keeps with ``confirmed``, the driver of each confirmed booking."""
    drivers = {slot.booking_id: slot.driver for slot in assignments}
    for booking, driver in confirmed.items():
        if drivers.get(booking) != driver:
            detail = f"confirmed with driver {driver}; {service} keeps driver {drivers.get(booking, 'none')}"
            yield Violation(ViolationKind.LOST, booking, detail)
    for slot in assignments:
        if slot.booking_id not in confirmed:
            detail = f"not confirmed, but {service} keeps driver {slot.driver} at {slot.slot}"
            yield Violation(ViolationKind.LOST, slot.booking_id, detail)
    for (driver, starts_at), count in Counter((slot.driver, slot.slot) for slot in assignments).items():
        if count > 1:
            detail = f"{service} has assigned the slot at {starts_at} {count} times"
            yield Violation(ViolationKind.DUPLICATED, f"driver {driver}", detail)


def check_history_order(evidence: Evidence) -> Iterator[Violation]:
    """Every booking took its states by permitted transitions."""
    for booking, states in evidence.database.histories.items():
        for before, after in pairwise(states):
            if after not in TRANSITIONS.get(before, ()):
                yield Violation(ViolationKind.MISORDERED, booking, f"{after} came after {before}")


def check_notice_order(evidence: Evidence) -> Iterator[Violation]:
    """Notices reach the rider in the order in which the booking took the notified states."""
    for booking, notices in evidence.database.notices.items():
        states = [state for state in evidence.database.histories.get(booking, ()) if state in notices]
        if dict.fromkeys(notices) != dict.fromkeys(states) or list(dict.fromkeys(notices)) != states:
            detail = f"notices {', '.join(notices)}, but states {', '.join(states)}"
            yield Violation(ViolationKind.MISORDERED, booking, detail)


def check_callbacks(evidence: Evidence) -> Iterator[Violation]:
    """The riders' system was told every outcome, in order or with a sequence, and nothing that did not happen."""
    if evidence.callbacks is not None:
        yield from find_callback_violations(evidence.callbacks, evidence.database.histories)


def check_phantoms(evidence: Evidence) -> Iterator[Violation]:
    """No service keeps an effect of a booking that does not exist."""
    for phantom in evidence.database.phantoms:
        detail = f"{phantom.table} has a row of it, but there is no such booking"
        yield Violation(ViolationKind.CONTRADICTORY, phantom.booking_id, detail)


def ledger_rows(evidence: Evidence) -> Iterable[LedgerEntry]:
    """Return booking's ledger entry of every ride that has one."""
    return (account.row for account in evidence.reconciliation.accounts if account.row)


def settled_ids(accounts: Iterable[RideAccount]) -> frozenset[str]:
    """Return the booking ids of the settled rides."""
    return frozenset(account.row.booking_id for account in accounts if account.row and account.settled)


CHECKS: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    check_sources,
    check_settled,
    check_pending,
    check_abandoned,
    check_charges,
    check_campaign_counter,
    check_fares,
    check_assignments,
    check_history_order,
    check_notice_order,
    check_send_order,
    check_callbacks,
    check_phantoms,
    check_statuses,
    check_accepting_responses,
    check_cancellations,
    check_repeated_keys,
    check_silence,
    check_uncertain_refusals,
    check_uncertain_cancellations,
    check_ends,
    check_receipts,
    check_expiries,
    check_offers,
)
