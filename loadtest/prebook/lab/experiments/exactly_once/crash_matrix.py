"""What is varied, and what is concluded from the counts. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

import msgspec


class CrashPoint(StrEnum):
    """Where a process ends without another word. The first three are the producer's, the last is the consumer's."""

    BEFORE_COMMIT = "before_commit"
    BEFORE_PUBLISH = "after_commit_before_publish"
    BEFORE_MARK = "after_publish_before_mark"
    BEFORE_ACK = "after_effect_before_ack"


class Cell(msgspec.Struct, frozen=True, order=True):
    """One case. ``dedup``: an operation that is repeated keeps its message id. ``inbox``: the consumer admits once."""

    point: CrashPoint
    dedup: bool
    inbox: bool

    @property
    def name(self) -> str:
        return f"{self.point}-{SWITCH[self.dedup]}-{SWITCH[self.inbox]}"

    def operations(self, count: int) -> tuple[str, ...]:
        """Ids that no other cell has."""
        return tuple(f"{self.name}-{number:03}" for number in range(count))

    @property
    def closing(self) -> str:
        """Told after all others: where it has come, nothing is on its way any more."""
        return f"{self.name}-closing"


SWITCH: Mapping[bool, str] = {True: "on", False: "off"}
CELLS = tuple(Cell(*case) for case in product(CrashPoint, (True, False), (True, False)))


class Verdict(StrEnum):
    EXACT = "exact"
    DOUBLED = "doubled"
    LOST = "lost"


@dataclass(frozen=True)
class Tally:
    """How many operations had no effect, and how many had more than one."""

    lost: int
    doubled: int

    @property
    def verdict(self) -> Verdict:
        """The worse one where it is both; the counts say so."""
        return Verdict.LOST if self.lost else Verdict.DOUBLED if self.doubled else Verdict.EXACT


def tally(operations: Sequence[str], effects: Mapping[str, int]) -> Tally:
    counts = [effects.get(operation, 0) for operation in operations]
    return Tally(lost=counts.count(0), doubled=sum(count > 1 for count in counts))


P, V = CrashPoint, Verdict


@dataclass(frozen=True)
class Expectation:
    """``why`` is one sentence for whoever reads the table."""

    verdict: Verdict
    why: str


NOTHING_DONE = (
    "The crash undid state and message together, so the caller's repeat was the first of its kind, and no duplicate "
    "arose that dedup or inbox would have had to stop."
)

EXPECTED: Mapping[Cell, Expectation] = {
    Cell(P.BEFORE_COMMIT, True, True): Expectation(V.EXACT, NOTHING_DONE),
    Cell(P.BEFORE_COMMIT, True, False): Expectation(V.EXACT, NOTHING_DONE),
    Cell(P.BEFORE_COMMIT, False, True): Expectation(V.EXACT, NOTHING_DONE),
    Cell(P.BEFORE_COMMIT, False, False): Expectation(V.EXACT, NOTHING_DONE),
    Cell(P.BEFORE_PUBLISH, True, True): Expectation(
        V.EXACT,
        "The outbox kept the message over the crash, and the caller's repeat had the same message id and was not "
        "staged again.",
    ),
    Cell(P.BEFORE_PUBLISH, True, False): Expectation(
        V.EXACT, "The repeat had the same message id and was not staged again, so the inbox had nothing to stop here."
    ),
    Cell(P.BEFORE_PUBLISH, False, True): Expectation(
        V.DOUBLED,
        "The repeat was staged under an id of its own, and an inbox cannot tell two ids to be one operation.",
    ),
    Cell(P.BEFORE_PUBLISH, False, False): Expectation(
        V.DOUBLED, "The repeat was staged under an id of its own, and the consumer takes whatever comes."
    ),
    Cell(P.BEFORE_MARK, True, True): Expectation(
        V.EXACT,
        "The relay sent the unmarked row again and the inbox knew it; the caller's repeat was not staged again.",
    ),
    Cell(P.BEFORE_MARK, True, False): Expectation(
        V.DOUBLED, "The relay sent the unmarked row again, and without an inbox the second delivery had an effect too."
    ),
    Cell(P.BEFORE_MARK, False, True): Expectation(
        V.DOUBLED,
        "The inbox stopped the row that was sent again, but not the caller's repeat under an id of its own.",
    ),
    Cell(P.BEFORE_MARK, False, False): Expectation(
        V.DOUBLED, "The row was sent again and the repeat was staged anew, and each delivery had an effect."
    ),
    Cell(P.BEFORE_ACK, True, True): Expectation(
        V.EXACT, "The broker delivered the unacknowledged message again, and the inbox knew it."
    ),
    Cell(P.BEFORE_ACK, True, False): Expectation(
        V.DOUBLED,
        "The broker delivered the unacknowledged message again, and the producer's dedup does not help its consumer.",
    ),
    Cell(P.BEFORE_ACK, False, True): Expectation(
        V.EXACT,
        "The broker delivered the same message again and the inbox knew it; the producer had no reason to repeat "
        "anything, so its dedup was not needed here.",
    ),
    Cell(P.BEFORE_ACK, False, False): Expectation(
        V.DOUBLED, "The broker delivered the unacknowledged message again, and nothing knew that it had had its effect."
    ),
}
