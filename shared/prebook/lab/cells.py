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
