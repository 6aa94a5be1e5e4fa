"""What a chaos run has to have kept, one check each: a booking at a time, or all of them together. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from prebook.contracts.booking import SETTLED_STATES, BookingState, LedgerEntry
from prebook.lab.chaos.database import DriverAssignment
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.ledger import discrepancies
from prebook.lab.ledger.accounts import RideAccount


class ViolationKind(StrEnum):
    LOST = "lost"
    STUCK = "stuck"
    DOUBLED = "doubled"
    MISORDERED = "misordered"
    CONTRADICTORY = "contradictory"
    """Two sources tell what cannot both be."""


class Violation(NamedTuple):
    kind: ViolationKind
    subject: str
    """Its id, or the key where there is no id."""
    detail: str


TRANSITIONS: Mapping[str, frozenset[str]] = {
    BookingState.REQUESTED: frozenset({BookingState.PRICED, *SETTLED_STATES - {BookingState.CONFIRMED}}),
    BookingState.PRICED: frozenset({BookingState.MATCHED, *SETTLED_STATES - {BookingState.CONFIRMED}}),
    BookingState.MATCHED: frozenset({BookingState.CONFIRMED, BookingState.EXPIRED, BookingState.CANCELLED}),
    BookingState.CONFIRMED: frozenset({BookingState.CANCELLED}),
}
"""The turns that a booking's life may take; whatever is not here is its end."""


def find_violations(evidence: Evidence) -> Iterator[Violation]:
    for check in CHECKS:
        yield from check(evidence)


def check_sources(evidence: Evidence) -> Iterator[Violation]:
    for item in evidence.reconciliation.discrepancies:
        yield Violation(violation_kind(item.kind), item.booking_id or item.key, item.detail)


def violation_kind(kind: discrepancies.DiscrepancyKind) -> ViolationKind:
    if kind in discrepancies.LOST_KINDS:
        return ViolationKind.LOST
    return ViolationKind.DOUBLED if kind in discrepancies.DUPLICATED_KINDS else ViolationKind.CONTRADICTORY


def check_settled(evidence: Evidence) -> Iterator[Violation]:
    for row in ledger_rows(evidence):
        if row.state not in SETTLED_STATES:
            yield Violation(ViolationKind.STUCK, row.booking_id, f"still {row.state} when the deadline was over")


def check_pending(evidence: Evidence) -> Iterator[Violation]:
    """A booking that is settled, and of which a message is still to leave or an answer to come."""
    waiting = {trace.booking_id: trace for trace in evidence.database.pending}
    for row in ledger_rows(evidence):
        trace = waiting.get(row.booking_id)
        if trace and row.state in SETTLED_STATES:
            yield Violation(
                ViolationKind.STUCK, row.booking_id, f"{trace.service} still has {trace.message_id} in hand"
            )


def check_abandoned(evidence: Evidence) -> Iterator[Violation]:
    for trace in evidence.database.abandoned:
        detail = f"{trace.service} will never send {trace.message_id}: {trace.error or 'it does not say why'}"
        yield Violation(ViolationKind.LOST, trace.booking_id, detail)


def check_charges(evidence: Evidence) -> Iterator[Violation]:
    """A confirmed ride was decided upon, and holds its share if it got one; no other ride holds one."""
    discounts = evidence.database.discounts
    for row in ledger_rows(evidence):
        discount = discounts.get(row.booking_id)
        if row.state is BookingState.CONFIRMED and discount not in {"granted", "none_left"}:
            yield Violation(
                ViolationKind.LOST,
                row.booking_id,
                f"confirmed, but its share of the campaign is {discount or 'nowhere'}",
            )
        if row.state in SETTLED_STATES - {BookingState.CONFIRMED} and discount == "granted":
            yield Violation(ViolationKind.DOUBLED, row.booking_id, f"{row.state}, and still charged to the campaign")


def check_campaign_counter(evidence: Evidence) -> Iterator[Violation]:
    counted = evidence.database.granted_count
    rows = evidence.database.granted_rows
    if counted != rows:
        breach = ViolationKind.DOUBLED if counted > rows else ViolationKind.LOST
        yield Violation(breach, "campaign", f"pricing's counter says {counted} shares are out, its rows say {rows}")


def check_fares(evidence: Evidence) -> Iterator[Violation]:
    """One ride has one fare under every plan, or two: with the discount and without."""
    prices: dict[tuple[int, str], LedgerEntry] = {}
    for account in evidence.reconciliation.accounts:
        row = account.row
        if row is None or row.state is not BookingState.CONFIRMED:
            continue
        discount = evidence.database.discounts.get(row.booking_id, "")
        first = prices.setdefault((account.sample.ride, discount), row)
        if first.fare_cents != row.fare_cents:
            detail = f"{row.fare_cents} cents, and {first.booking_id} costs {first.fare_cents} for the same ride"
            yield Violation(ViolationKind.CONTRADICTORY, row.booking_id, detail)


def check_assignments(evidence: Evidence) -> Iterator[Violation]:
    """Who is confirmed has its driver by matching's rows and by the fleets'; nobody else has one; none twice."""
    confirmed = {row.booking_id: row.driver for row in ledger_rows(evidence) if row.state is BookingState.CONFIRMED}
    for owner, slots in (("matching", evidence.database.assigned), ("fleets", evidence.database.reserved)):
        yield from assignment_violations(owner, slots, confirmed)


def assignment_violations(
    owner: str, assignments: Sequence[DriverAssignment], confirmed: Mapping[str, str | None]
) -> Iterator[Violation]:
    drivers = {slot.booking_id: slot.driver for slot in assignments}
    for booking, driver in confirmed.items():
        if drivers.get(booking) != driver:
            detail = f"confirmed with driver {driver}; {owner} has {drivers.get(booking, 'none')} for it"
            yield Violation(ViolationKind.LOST, booking, detail)
    for slot in assignments:
        if slot.booking_id not in confirmed:
            detail = f"{owner} keeps driver {slot.driver} at {slot.slot} for it, and there is no ride"
            yield Violation(ViolationKind.LOST, slot.booking_id, detail)
    for (driver, at), times in Counter((slot.driver, slot.slot) for slot in assignments).items():
        if times > 1:
            yield Violation(ViolationKind.DOUBLED, f"driver {driver}", f"{owner} has given {at} away {times} times")


def check_history_order(evidence: Evidence) -> Iterator[Violation]:
    for booking, states in evidence.database.histories.items():
        for before, after in pairwise(states):
            if after not in TRANSITIONS.get(before, ()):
                yield Violation(ViolationKind.MISORDERED, booking, f"{after} came after {before}")


def check_notice_order(evidence: Evidence) -> Iterator[Violation]:
    """Notices reach the rider in the order in which the booking took the states that they tell of."""
    for booking, notices in evidence.database.notices.items():
        known = [state for state in evidence.database.histories.get(booking, ()) if state in notices]
        if dict.fromkeys(notices) != dict.fromkeys(known) or list(dict.fromkeys(notices)) != known:
            yield Violation(
                ViolationKind.MISORDERED, booking, f"told {', '.join(notices)}, and it was {', '.join(known)}"
            )


def check_send_order(evidence: Evidence) -> Iterator[Violation]:
    for trace in evidence.database.overtaken:
        detail = f"{trace.service} sent {trace.message_id} before one that was to leave earlier"
        yield Violation(ViolationKind.MISORDERED, trace.booking_id, detail)


def ledger_rows(evidence: Evidence) -> Iterable[LedgerEntry]:
    """Booking's, of every ride that has one."""
    return (account.row for account in evidence.reconciliation.accounts if account.row)


def settled_ids(accounts: Iterable[RideAccount]) -> frozenset[str]:
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
)
