"""Verdict on a chaos run, computed from its evidence alone. Pure."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, pairwise

import msgspec

from prebook.contracts.dead_letters import DeadLetterSummary
from prebook.lab.chaos.checks import find_violations, settled_ids
from prebook.lab.chaos.evidence import Evidence, InjectedFault
from prebook.lab.chaos.unanswered_checks import Unanswered, UnansweredEnd
from prebook.lab.chaos.violations import Violation, ViolationKind
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.ledger.recovery_time import known_at

MAX_NAMED = 3
"""Maximum number of bookings named in a note."""
MAX_LISTED = 1_000
"""Maximum number of violations in the printed result."""
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
COUNTED_KINDS: Mapping[ViolationKind, frozenset[ViolationKind]] = {
    ViolationKind.LOST: frozenset({ViolationKind.LOST, ViolationKind.UNEXPLAINED}),
    **{kind: frozenset({kind}) for kind in (ViolationKind.STUCK, ViolationKind.DUPLICATED, ViolationKind.MISORDERED)},
    ViolationKind.UNEXPLAINED: frozenset({ViolationKind.UNEXPLAINED}),
}
"""Field of the printed result -> kinds of violations that it counts."""


class FaultResult(msgspec.Struct, frozen=True, kw_only=True):
    """An injected fault in the printed result. ``at_s``: seconds from the start of the arrivals."""

    name: str
    at_s: float
    took_effect: bool


class FoundViolation(msgspec.Struct, frozen=True, kw_only=True):
    """A violation in the printed result; fields as in ``Violation``."""

    kind: ViolationKind
    subject: str
    detail: str


class ChaosResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a chaos run as ``--json`` prints it. The format is a contract."""

    bookings: int
    """Bookings offered."""
    lost: int
    """Bookings of which a record, a message or a right was lost, and those counted in ``unexplained``."""
    stuck: int
    """Bookings that were still in progress when the run ended."""
    duplicated: int
    """Bookings that took effect twice."""
    misordered: int
    """Bookings whose states, notices or messages came out of order."""
    unexplained: int
    """Bookings that ended without an answer, and requests without a response, that no injected fault can explain."""
    wire_duplicates: int
    """Messages that services received more than once and ignored."""
    worst_gap_s: float
    """Longest time without a settled ride while at least one was due, in seconds."""
    ends: tuple[UnansweredEnd, ...]
    """Accepted bookings that ended without an answer, by state and reason."""
    silent: int
    """Requests without any response."""
    repetitions: int
    """Requests that repeated the key of another one and got a response."""
    callbacks: int
    """Callbacks that the riders' system received, repetitions included."""
    faults: tuple[FaultResult, ...]
    violations: tuple[FoundViolation, ...]
    """The first MAX_LISTED violations."""


@dataclass(frozen=True)
class ChaosVerdict:
    """Result of a run with the findings behind it."""

    result: ChaosResult
    violations: tuple[Violation, ...]
    problems: tuple[str, ...]
    """Reasons why the run failed; empty if it passed."""
    notes: tuple[str, ...]
    """Observations that are no failure."""

    @property
    def ok(self) -> bool:
        """Whether the run passed."""
        return not self.problems


def judge(evidence: Evidence) -> ChaosVerdict:
    """Return the verdict on the run that left ``evidence``."""
    violations = tuple(find_violations(evidence))
    unanswered = Unanswered(evidence)
    result = ChaosResult(
        bookings=len(evidence.reconciliation.accounts),
        wire_duplicates=evidence.wire_duplicates,
        worst_gap_s=round(worst_gap_s(evidence.reconciliation.accounts), 2),
        ends=unanswered.count_ends(),
        silent=len(unanswered.silent),
        callbacks=len(evidence.callbacks or ()),
        repetitions=sum(attempt.status is not None for attempt in evidence.repetitions),
        faults=tuple(map(fault_result, evidence.faults)),
        violations=tuple(FoundViolation(**found._asdict()) for found in violations[:MAX_LISTED]),
        **{
            field.value: len({found.subject for found in violations if found.kind in kinds})
            for field, kinds in COUNTED_KINDS.items()
        },
    )
    problems = (*violation_problems(violations), *vacuity_problems(evidence), *dead_letter_problems(evidence))
    return ChaosVerdict(result, violations, problems, tuple(dead_letter_notes(evidence)))


def fault_result(fault: InjectedFault) -> FaultResult:
    """Return ``fault`` as the printed result names it."""
    return FaultResult(name=fault.name, at_s=round(fault.at_s, 1), took_effect=fault.took_effect)


def violation_problems(violations: Sequence[Violation]) -> Iterator[str]:
    """Yield one line for each kind of ``violations``: the number of bookings and the first one as an example."""
    for kind in ViolationKind:
        details: dict[str, str] = {}
        for violation in violations:
            if violation.kind is kind:
                details.setdefault(violation.subject, violation.detail)
        if details:
            subject, detail = next(iter(details.items()))
            yield f"{len(details)} {kind}, such as {subject}: {detail}"


def vacuity_problems(evidence: Evidence) -> Iterator[str]:
    """Yield the reasons why the run proves nothing: no booking, no effective fault, no duplicate, no ordering."""
    if not evidence.reconciliation.rows:
        yield "no booking was accepted: nothing was proven"
    if not evidence.faults:
        yield "no fault was injected: nothing was proven"
    for fault in evidence.faults:
        if not fault.took_effect:
            yield f"{fault.name} at {fault.at_s:.1f} s took no effect ({fault.evidence})"
    if evidence.wire_duplicates <= 0:
        yield "no message was delivered twice: nothing was proven about duplicates"
    if not {attempt.is_same_body for attempt in evidence.repetitions if attempt.status is not None} >= {True, False}:
        yield "no key was repeated with the same and with another body: nothing was proven about idempotency keys"
    if evidence.callbacks is not None and not evidence.callbacks:
        yield "no callback was received: nothing was proven about riders' callbacks"
    if not evidence.database.ordered_messages:
        yield "no two sent messages of one ordering key were found: nothing was proven about order"


def dead_letter_problems(evidence: Evidence) -> Iterator[str]:
    """Yield the dead letters that cannot be explained: of an unsettled booking, or of no booking.

    A fault that sends poison discards it when it is parked.
    """
    offered = booking_ids(evidence)
    settled = settled_ids(evidence.reconciliation.accounts)
    for letter in evidence.dead_letters:
        if letter.conversation_id in offered - settled:
            yield f"{dead_letter_text(letter)} is parked, and its booking {letter.conversation_id} is not settled"
        if letter.conversation_id not in offered:
            yield f"{dead_letter_text(letter)} is parked, and it belongs to no booking of the run"


def dead_letter_notes(evidence: Evidence) -> Iterator[str]:
    """Yield the dead letters that are no failure: messages whose booking settled nevertheless."""
    settled = settled_ids(evidence.reconciliation.accounts)
    harmless = [
        (dead_letter_text(letter), letter.conversation_id)
        for letter in evidence.dead_letters
        if letter.conversation_id in settled
    ]
    for text, count in Counter(text for text, _ in harmless).items():
        bookings = dict.fromkeys(booking for letter_text, booking in harmless if letter_text == text)
        named = f"{', '.join(list(bookings)[:MAX_NAMED])}{', ...' if len(bookings) > MAX_NAMED else ''}"
        yield f"{count} x {text} parked; the {len(bookings)} booking(s) settled nevertheless: {named}"


def booking_ids(evidence: Evidence) -> frozenset[str]:
    """Return the ids of the run's bookings in booking's ledger."""
    return frozenset(row.booking_id for row in evidence.reconciliation.rows)


def dead_letter_text(letter: DeadLetterSummary) -> str:
    """Return message type, queue and cause of ``letter`` in one phrase."""
    return f"{letter.type or 'a message'} on {letter.queue} ({letter.cause})"


def worst_gap_s(accounts: Sequence[RideAccount]) -> float:
    """Return the longest time in seconds in which at least one ride was due and none was settled.

    A ride is due from its intended time of offer until it is settled. A ride that was never accepted is due at its
    intended time only: a period in which nothing was accepted counts from the first such ride to the next outcome.
    """
    rides = sorted((account.sample.intended_at, known_at(account)) for account in accounts if account.settled)
    starts = [start for start, _ in rides]
    open_until = list(accumulate((end for _, end in rides), max))
    offered = sorted(account.sample.intended_at for account in accounts)
    gaps = [0.0]
    for previous, outcome in pairwise([BEFORE_ALL, *sorted({end for _, end in rides})]):
        started = bisect_right(starts, previous)
        is_due = started > 0 and open_until[started - 1] > previous
        due_since = previous if is_due else offered[min(bisect_right(offered, previous), len(offered) - 1)]
        gaps.append((outcome - due_since).total_seconds())
    return max(gaps)
