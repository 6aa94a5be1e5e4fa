"""The judgement of a chaos run, from the evidence and from nothing else. Pure."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, pairwise

import msgspec

from prebook.contracts.dead_letters import ParkedLine
from prebook.lab.chaos.checks import Breach, Finding, found, settled_ids
from prebook.lab.chaos.evidence import Broken, Evidence
from prebook.lab.ledger.accounts import Account
from prebook.lab.ledger.recovery_time import settled_at

NAMED = 3
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
COUNTED = (Breach.LOST, Breach.STUCK, Breach.DOUBLED, Breach.MISORDERED)


class FaultResult(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    at_s: float
    took_effect: bool


class ChaosResult(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` prints; the format is a contract. The first four after ``bookings`` count bookings."""

    bookings: int
    """Offered."""
    lost: int
    stuck: int
    doubled: int
    misordered: int
    wire_duplicates: int
    """Messages that came again and had no effect."""
    worst_gap_s: float
    """The longest time without any ride settled, while one was due."""
    faults: tuple[FaultResult, ...]


@dataclass(frozen=True)
class Judgement:
    result: ChaosResult
    findings: tuple[Finding, ...]
    problems: tuple[str, ...]
    """Why the run failed; empty where it passed."""
    notes: tuple[str, ...]
    """What is worth knowing and no failure."""

    @property
    def ok(self) -> bool:
        return not self.problems


def judged(evidence: Evidence) -> Judgement:
    findings = tuple(found(evidence))
    counts = {breach: len({item.booking for item in findings if item.breach is breach}) for breach in Breach}
    result = ChaosResult(
        bookings=len(evidence.books.accounts),
        wire_duplicates=evidence.wire_duplicates,
        worst_gap_s=round(worst_gap_s(evidence.books.accounts), 2),
        faults=tuple(map(fault_result, evidence.faults)),
        **{breach.value: counts[breach] for breach in COUNTED},
    )
    problems = (*broken_promises(findings), *hollow(evidence), *parked_for_no_reason(evidence))
    return Judgement(result, findings, problems, tuple(parked_notes(evidence)))


def fault_result(fault: Broken) -> FaultResult:
    return FaultResult(name=fault.name, at_s=round(fault.at_s, 1), took_effect=fault.took_effect)


def broken_promises(findings: Sequence[Finding]) -> Iterator[str]:
    for breach in Breach:
        mine = {item.booking: item.detail for item in findings if item.breach is breach}
        if mine:
            booking, detail = next(iter(mine.items()))
            yield f"{len(mine)} {breach}, such as {booking}: {detail}"


def hollow(evidence: Evidence) -> Iterator[str]:
    """What makes a run prove nothing: nobody booked, nothing broke, nothing came twice, no order was seen."""
    if not evidence.books.rows:
        yield "no booking was accepted: nothing was proven"
    if not evidence.faults:
        yield "no fault was injected: nothing was proven"
    for fault in evidence.faults:
        if not fault.took_effect:
            yield f"{fault.name} at {fault.at_s:.1f} s took no effect ({fault.evidence})"
    if evidence.wire_duplicates <= 0:
        yield "no message came a second time, so that nothing was proven about duplicates"
    if not evidence.tables.ordered:
        yield "no message was found of which the order of leaving could be seen"


def parked_for_no_reason(evidence: Evidence) -> Iterator[str]:
    ours, settled = ids(evidence), settled_ids(evidence.books.accounts)
    for line in evidence.parked:
        if line.conversation in ours - settled:
            yield f"{words(line)} is parked, and its booking {line.conversation} is not settled"
        if line.conversation not in ours and not evidence.poisoned:
            yield f"{words(line)} is parked, it belongs to no booking of the run, and no poison was sent"


def parked_notes(evidence: Evidence) -> Iterator[str]:
    ours, settled = ids(evidence), settled_ids(evidence.books.accounts)
    strays = [line for line in evidence.parked if line.conversation not in ours]
    if strays and evidence.poisoned:
        yield f"{len(strays)} poison message(s) parked, as they should be"
    late = [(words(line), line.conversation) for line in evidence.parked if line.conversation in settled]
    for what, times in Counter(what for what, _ in late).items():
        bookings = dict.fromkeys(booking for named, booking in late if named == what)
        some = f"{', '.join(list(bookings)[:NAMED])}{', ...' if len(bookings) > NAMED else ''}"
        yield f"{times} x {what} parked; the {len(bookings)} booking(s) settled all the same: {some}"


def ids(evidence: Evidence) -> frozenset[str]:
    return frozenset(row.booking_id for row in evidence.books.rows)


def words(line: ParkedLine) -> str:
    return f"{line.type or 'a message'} on {line.queue} ({line.cause})"


def known_at(account: Account) -> datetime:
    """When it was settled. Booking says so by its own clock, which a fault may set wrong; no rider knows earlier."""
    return min(settled_at(account), account.told_at or settled_at(account))


def worst_gap_s(accounts: Sequence[Account]) -> float:
    """The longest time in which a ride was due and none was settled.

    A ride is due from the moment at which it was meant to be offered until it is settled; one that booking never took
    in is due at its moment only, so that a time in which nothing at all was accepted counts up to the next outcome.
    """
    rides = sorted((account.sample.intended_at, known_at(account)) for account in accounts if account.settled)
    begun, open_until = [begin for begin, _ in rides], list(accumulate((end for _, end in rides), max))
    offered = sorted(account.sample.intended_at for account in accounts)
    gaps = [0.0]
    for before, moment in pairwise([BEFORE_ALL, *sorted({end for _, end in rides})]):
        known = bisect_right(begun, before)
        is_due = known > 0 and open_until[known - 1] > before
        due = before if is_due else offered[min(bisect_right(offered, before), len(offered) - 1)]
        gaps.append((moment - due).total_seconds())
    return max(gaps)
