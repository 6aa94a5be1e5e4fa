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


class CrashCell(msgspec.Struct, frozen=True, order=True):
    """One case. ``dedup``: an operation that is repeated keeps its message id. ``inbox``: the consumer admits once."""

    crash_point: CrashPoint
    dedup: bool
    inbox: bool

    @property
    def name(self) -> str:
        return f"{self.crash_point}-{ON_OFF[self.dedup]}-{ON_OFF[self.inbox]}"

    def operation_ids(self, count: int) -> tuple[str, ...]:
        """Ids that no other cell has."""
        return tuple(f"{self.name}-{number:03}" for number in range(count))

    @property
    def sentinel_operation(self) -> str:
        """Told after all others: where it has come, nothing is on its way any more."""
        return f"{self.name}-closing"


ON_OFF: Mapping[bool, str] = {True: "on", False: "off"}
CELLS = tuple(CrashCell(*case) for case in product(CrashPoint, (True, False), (True, False)))


class CrashVerdict(StrEnum):
    EXACT = "exact"
    DOUBLED = "doubled"
    LOST = "lost"


@dataclass(frozen=True)
class EffectTally:
    """How many operations had no effect, and how many had more than one."""

    lost: int
    doubled: int

    @property
    def verdict(self) -> CrashVerdict:
        """The worse one where it is both; the counts say so."""
        return CrashVerdict.LOST if self.lost else CrashVerdict.DOUBLED if self.doubled else CrashVerdict.EXACT


def effect_tally(operations: Sequence[str], effects: Mapping[str, int]) -> EffectTally:
    counts = [effects.get(operation, 0) for operation in operations]
    return EffectTally(lost=counts.count(0), doubled=sum(count > 1 for count in counts))


@dataclass(frozen=True)
class ExpectedVerdict:
    """``reason`` is one sentence for the reader of the table."""

    verdict: CrashVerdict
    reason: str


ROLLED_BACK = (
    "The crash undid state and message together, so the caller's repeat was the first of its kind, and no duplicate "
    "arose that dedup or inbox would have had to stop."
)

EXPECTED_VERDICTS: Mapping[CrashCell, ExpectedVerdict] = {
    CrashCell(CrashPoint.BEFORE_COMMIT, True, True): ExpectedVerdict(CrashVerdict.EXACT, ROLLED_BACK),
    CrashCell(CrashPoint.BEFORE_COMMIT, True, False): ExpectedVerdict(CrashVerdict.EXACT, ROLLED_BACK),
    CrashCell(CrashPoint.BEFORE_COMMIT, False, True): ExpectedVerdict(CrashVerdict.EXACT, ROLLED_BACK),
    CrashCell(CrashPoint.BEFORE_COMMIT, False, False): ExpectedVerdict(CrashVerdict.EXACT, ROLLED_BACK),
    CrashCell(CrashPoint.BEFORE_PUBLISH, True, True): ExpectedVerdict(
        CrashVerdict.EXACT,
        "The outbox kept the message over the crash, and the caller's repeat had the same message id and was not "
        "staged again.",
    ),
    CrashCell(CrashPoint.BEFORE_PUBLISH, True, False): ExpectedVerdict(
        CrashVerdict.EXACT,
        "The repeat had the same message id and was not staged again, so the inbox had nothing to stop here.",
    ),
    CrashCell(CrashPoint.BEFORE_PUBLISH, False, True): ExpectedVerdict(
        CrashVerdict.DOUBLED,
        "The repeat was staged under an id of its own, and an inbox cannot tell two ids to be one operation.",
    ),
    CrashCell(CrashPoint.BEFORE_PUBLISH, False, False): ExpectedVerdict(
        CrashVerdict.DOUBLED, "The repeat was staged under an id of its own, and the consumer takes whatever comes."
    ),
    CrashCell(CrashPoint.BEFORE_MARK, True, True): ExpectedVerdict(
        CrashVerdict.EXACT,
        "The relay sent the unmarked row again and the inbox knew it; the caller's repeat was not staged again.",
    ),
    CrashCell(CrashPoint.BEFORE_MARK, True, False): ExpectedVerdict(
        CrashVerdict.DOUBLED,
        "The relay sent the unmarked row again, and without an inbox the second delivery had an effect too.",
    ),
    CrashCell(CrashPoint.BEFORE_MARK, False, True): ExpectedVerdict(
        CrashVerdict.DOUBLED,
        "The inbox stopped the row that was sent again, but not the caller's repeat under an id of its own.",
    ),
    CrashCell(CrashPoint.BEFORE_MARK, False, False): ExpectedVerdict(
        CrashVerdict.DOUBLED, "The row was sent again and the repeat was staged anew, and each delivery had an effect."
    ),
    CrashCell(CrashPoint.BEFORE_ACK, True, True): ExpectedVerdict(
        CrashVerdict.EXACT, "The broker delivered the unacknowledged message again, and the inbox knew it."
    ),
    CrashCell(CrashPoint.BEFORE_ACK, True, False): ExpectedVerdict(
        CrashVerdict.DOUBLED,
        "The broker delivered the unacknowledged message again, and the producer's dedup does not help its consumer.",
    ),
    CrashCell(CrashPoint.BEFORE_ACK, False, True): ExpectedVerdict(
        CrashVerdict.EXACT,
        "The broker delivered the same message again and the inbox knew it; the producer had no reason to repeat "
        "anything, so its dedup was not needed here.",
    ),
    CrashCell(CrashPoint.BEFORE_ACK, False, False): ExpectedVerdict(
        CrashVerdict.DOUBLED,
        "The broker delivered the unacknowledged message again, and nothing knew that it had had its effect.",
    ),
}
