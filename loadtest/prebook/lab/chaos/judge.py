"""The judgement of a chaos run, from the evidence and from nothing else. Pure."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, pairwise

import msgspec

from prebook.contracts.dead_letters import DeadLetterSummary
from prebook.lab.chaos.checks import Violation, ViolationKind, find_violations, settled_ids
from prebook.lab.chaos.evidence import Evidence, InjectedFault
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.ledger.recovery_time import settled_at

MAX_NAMED = 3
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
COUNTED_KINDS = (ViolationKind.LOST, ViolationKind.STUCK, ViolationKind.DOUBLED, ViolationKind.MISORDERED)


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
class ChaosVerdict:
    result: ChaosResult
    violations: tuple[Violation, ...]
    problems: tuple[str, ...]
    """Why the run failed; empty where it passed."""
    notes: tuple[str, ...]
    """What is worth knowing and no failure."""

    @property
    def ok(self) -> bool:
        return not self.problems


def judge(evidence: Evidence) -> ChaosVerdict:
    findings = tuple(find_violations(evidence))
    counts = {breach: len({item.subject for item in findings if item.kind is breach}) for breach in ViolationKind}
    result = ChaosResult(
        bookings=len(evidence.reconciliation.accounts),
        wire_duplicates=evidence.wire_duplicates,
        worst_gap_s=round(worst_gap_s(evidence.reconciliation.accounts), 2),
        faults=tuple(map(fault_result, evidence.faults)),
        **{breach.value: counts[breach] for breach in COUNTED_KINDS},
    )
    problems = (*violation_problems(findings), *vacuity_problems(evidence), *dead_letter_problems(evidence))
    return ChaosVerdict(result, findings, problems, tuple(dead_letter_notes(evidence)))


def fault_result(fault: InjectedFault) -> FaultResult:
    return FaultResult(name=fault.name, at_s=round(fault.at_s, 1), took_effect=fault.took_effect)


def violation_problems(violations: Sequence[Violation]) -> Iterator[str]:
    for breach in ViolationKind:
        mine = {item.subject: item.detail for item in violations if item.kind is breach}
        if mine:
            booking, detail = next(iter(mine.items()))
            yield f"{len(mine)} {breach}, such as {booking}: {detail}"


def vacuity_problems(evidence: Evidence) -> Iterator[str]:
    """What makes a run prove nothing: nobody booked, nothing broke, nothing came twice, no order was seen."""
    if not evidence.reconciliation.rows:
        yield "no booking was accepted: nothing was proven"
    if not evidence.faults:
        yield "no fault was injected: nothing was proven"
    for fault in evidence.faults:
        if not fault.took_effect:
            yield f"{fault.name} at {fault.at_s:.1f} s took no effect ({fault.evidence})"
    if evidence.wire_duplicates <= 0:
        yield "no message came a second time, so that nothing was proven about duplicates"
    if not evidence.database.ordered_messages:
        yield "no message was found of which the order of leaving could be seen"


def dead_letter_problems(evidence: Evidence) -> Iterator[str]:
    ours = booking_ids(evidence)
    settled = settled_ids(evidence.reconciliation.accounts)
    for line in evidence.dead_letters:
        if line.conversation_id in ours - settled:
            yield f"{dead_letter_text(line)} is parked, and its booking {line.conversation_id} is not settled"
        if line.conversation_id not in ours and not evidence.poison_sent:
            yield f"{dead_letter_text(line)} is parked, it belongs to no booking of the run, and no poison was sent"


def dead_letter_notes(evidence: Evidence) -> Iterator[str]:
    ours = booking_ids(evidence)
    settled = settled_ids(evidence.reconciliation.accounts)
    strays = [line for line in evidence.dead_letters if line.conversation_id not in ours]
    if strays and evidence.poison_sent:
        yield f"{len(strays)} poison message(s) parked, as they should be"
    late = [
        (dead_letter_text(line), line.conversation_id)
        for line in evidence.dead_letters
        if line.conversation_id in settled
    ]
    for what, times in Counter(what for what, _ in late).items():
        bookings = dict.fromkeys(booking for named, booking in late if named == what)
        some = f"{', '.join(list(bookings)[:MAX_NAMED])}{', ...' if len(bookings) > MAX_NAMED else ''}"
        yield f"{times} x {what} parked; the {len(bookings)} booking(s) settled all the same: {some}"


def booking_ids(evidence: Evidence) -> frozenset[str]:
    return frozenset(row.booking_id for row in evidence.reconciliation.rows)


def dead_letter_text(line: DeadLetterSummary) -> str:
    return f"{line.type or 'a message'} on {line.queue} ({line.cause})"


def known_at(account: RideAccount) -> datetime:
    """When it was settled. Booking says so by its own clock, which a fault may set wrong; no rider knows earlier."""
    return min(settled_at(account), account.notified_at or settled_at(account))


def worst_gap_s(accounts: Sequence[RideAccount]) -> float:
    """The longest time in which a ride was due and none was settled.

    A ride is due from the moment at which it was meant to be offered until it is settled; one that booking never took
    in is due at its moment only, so that a time in which nothing at all was accepted counts up to the next outcome.
    """
    rides = sorted((account.sample.intended_at, known_at(account)) for account in accounts if account.settled)
    begun = [begin for begin, _ in rides]
    open_until = list(accumulate((end for _, end in rides), max))
    offered = sorted(account.sample.intended_at for account in accounts)
    gaps = [0.0]
    for before, moment in pairwise([BEFORE_ALL, *sorted({end for _, end in rides})]):
        known = bisect_right(begun, before)
        is_due = known > 0 and open_until[known - 1] > before
        due = before if is_due else offered[min(bisect_right(offered, before), len(offered) - 1)]
        gaps.append((moment - due).total_seconds())
    return max(gaps)
