"""What a chaos run has to have kept, one check each: a booking at a time, or all of them together. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from prebook.contracts.booking import SETTLED, LedgerLine, State
from prebook.lab.chaos.database import Slot
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.ledger import discrepancies
from prebook.lab.ledger.accounts import Account


class Breach(StrEnum):
    LOST = "lost"
    STUCK = "stuck"
    DOUBLED = "doubled"
    MISORDERED = "misordered"
    CONTRADICTORY = "contradictory"
    """Two sources tell what cannot both be."""


class Finding(NamedTuple):
    breach: Breach
    booking: str
    """Its id, or the key where there is no id."""
    detail: str


FOLLOWS: Mapping[str, frozenset[str]] = {
    State.REQUESTED: frozenset({State.PRICED, *SETTLED - {State.CONFIRMED}}),
    State.PRICED: frozenset({State.MATCHED, *SETTLED - {State.CONFIRMED}}),
    State.MATCHED: frozenset({State.CONFIRMED, State.EXPIRED, State.CANCELLED}),
    State.CONFIRMED: frozenset({State.CANCELLED}),
}
"""The turns that a booking's life may take; whatever is not here is its end."""


def found(evidence: Evidence) -> Iterator[Finding]:
    for check in CHECKS:
        yield from check(evidence)


def sources_agree(evidence: Evidence) -> Iterator[Finding]:
    for item in evidence.books.discrepancies:
        yield Finding(breach_of(item.kind), item.booking_id or item.key, item.detail)


def breach_of(kind: discrepancies.Kind) -> Breach:
    if kind in discrepancies.LOST:
        return Breach.LOST
    return Breach.DOUBLED if kind in discrepancies.DOUBLED else Breach.CONTRADICTORY


def all_settled(evidence: Evidence) -> Iterator[Finding]:
    for row in rows(evidence):
        if row.state not in SETTLED:
            yield Finding(Breach.STUCK, row.booking_id, f"still {row.state} when the deadline was over")


def nothing_waits(evidence: Evidence) -> Iterator[Finding]:
    """A booking that is settled, and of which a message is still to leave or an answer to come."""
    waiting = {trace.booking_id: trace for trace in evidence.tables.unsent}
    for row in rows(evidence):
        trace = waiting.get(row.booking_id)
        if trace and row.state in SETTLED:
            yield Finding(Breach.STUCK, row.booking_id, f"{trace.service} still has {trace.message_id} in hand")


def nothing_given_up(evidence: Evidence) -> Iterator[Finding]:
    for trace in evidence.tables.given_up:
        detail = f"{trace.service} will never send {trace.message_id}: {trace.why or 'it does not say why'}"
        yield Finding(Breach.LOST, trace.booking_id, detail)


def one_charge_each(evidence: Evidence) -> Iterator[Finding]:
    """A confirmed ride was decided upon, and holds its share if it got one; no other ride holds one."""
    shares = evidence.tables.shares
    for row in rows(evidence):
        share = shares.get(row.booking_id)
        if row.state is State.CONFIRMED and share not in {"taken", "none_left"}:
            yield Finding(
                Breach.LOST, row.booking_id, f"confirmed, but its share of the campaign is {share or 'nowhere'}"
            )
        if row.state in SETTLED - {State.CONFIRMED} and share == "taken":
            yield Finding(Breach.DOUBLED, row.booking_id, f"{row.state}, and still charged to the campaign")


def the_counter_agrees(evidence: Evidence) -> Iterator[Finding]:
    granted, taken = evidence.tables.granted, evidence.tables.taken
    if granted != taken:
        breach = Breach.DOUBLED if granted > taken else Breach.LOST
        yield Finding(breach, "campaign", f"pricing's counter says {granted} shares are out, its rows say {taken}")


def fares_agree(evidence: Evidence) -> Iterator[Finding]:
    """One ride has one fare under every plan, or two: with the discount and without."""
    prices: dict[tuple[int, str], LedgerLine] = {}
    for account in evidence.books.accounts:
        row = account.row
        if row is None or row.state is not State.CONFIRMED:
            continue
        share = evidence.tables.shares.get(row.booking_id, "")
        first = prices.setdefault((account.sample.ride, share), row)
        if first.fare_cents != row.fare_cents:
            detail = f"{row.fare_cents} cents, and {first.booking_id} costs {first.fare_cents} for the same ride"
            yield Finding(Breach.CONTRADICTORY, row.booking_id, detail)


def slots_agree(evidence: Evidence) -> Iterator[Finding]:
    """Who is confirmed has its driver by matching's rows and by the fleets'; nobody else has one; none twice."""
    confirmed = {row.booking_id: row.driver for row in rows(evidence) if row.state is State.CONFIRMED}
    for owner, slots in (("matching", evidence.tables.assigned), ("fleets", evidence.tables.held)):
        yield from slots_of(owner, slots, confirmed)


def slots_of(owner: str, slots: Sequence[Slot], confirmed: Mapping[str, str | None]) -> Iterator[Finding]:
    drivers = {slot.booking_id: slot.driver for slot in slots}
    for booking, driver in confirmed.items():
        if drivers.get(booking) != driver:
            detail = f"confirmed with driver {driver}; {owner} has {drivers.get(booking, 'none')} for it"
            yield Finding(Breach.LOST, booking, detail)
    for slot in slots:
        if slot.booking_id not in confirmed:
            detail = f"{owner} keeps driver {slot.driver} at {slot.slot} for it, and there is no ride"
            yield Finding(Breach.LOST, slot.booking_id, detail)
    for (driver, at), times in Counter((slot.driver, slot.slot) for slot in slots).items():
        if times > 1:
            yield Finding(Breach.DOUBLED, f"driver {driver}", f"{owner} has given {at} away {times} times")


def history_in_order(evidence: Evidence) -> Iterator[Finding]:
    for booking, states in evidence.tables.histories.items():
        for before, after in pairwise(states):
            if after not in FOLLOWS.get(before, ()):
                yield Finding(Breach.MISORDERED, booking, f"{after} came after {before}")


def told_in_order(evidence: Evidence) -> Iterator[Finding]:
    """Notices reach the rider in the order in which the booking took the states that they tell of."""
    for booking, notices in evidence.tables.told.items():
        known = [state for state in evidence.tables.histories.get(booking, ()) if state in notices]
        if dict.fromkeys(notices) != dict.fromkeys(known) or list(dict.fromkeys(notices)) != known:
            yield Finding(Breach.MISORDERED, booking, f"told {', '.join(notices)}, and it was {', '.join(known)}")


def sent_in_order(evidence: Evidence) -> Iterator[Finding]:
    for trace in evidence.tables.overtaken:
        detail = f"{trace.service} sent {trace.message_id} before one that was to leave earlier"
        yield Finding(Breach.MISORDERED, trace.booking_id, detail)


def rows(evidence: Evidence) -> Iterable[LedgerLine]:
    """Booking's, of every ride that has one."""
    return (account.row for account in evidence.books.accounts if account.row)


def settled_ids(accounts: Iterable[Account]) -> frozenset[str]:
    return frozenset(account.row.booking_id for account in accounts if account.row and account.settled)


CHECKS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    sources_agree,
    all_settled,
    nothing_waits,
    nothing_given_up,
    one_charge_each,
    the_counter_agrees,
    fares_agree,
    slots_agree,
    history_in_order,
    told_in_order,
    sent_in_order,
)
