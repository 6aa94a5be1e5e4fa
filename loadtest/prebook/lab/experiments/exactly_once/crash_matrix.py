"""Cells of the exactly-once experiment and their expected verdicts. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

import msgspec


class CrashPoint(StrEnum):
    """Points at which a process exits abruptly: the first three in the producer, the last in the consumer."""

    BEFORE_COMMIT = "before_commit"
    BEFORE_PUBLISH = "after_commit_before_publish"
    BEFORE_MARK = "after_publish_before_mark"
    BEFORE_ACK = "after_effect_before_ack"


class CrashCell(msgspec.Struct, frozen=True, order=True):
    """One combination of crash point and switches.

    With ``dedup``, a repeated operation keeps its message id. With ``inbox``, the consumer drops known message ids.
    """

    crash_point: CrashPoint
    dedup: bool
    inbox: bool

    @property
    def name(self) -> str:
        """Name that is unique among cells."""
        return f"{self.crash_point}-{ON_OFF[self.dedup]}-{ON_OFF[self.inbox]}"

    def operation_ids(self, count: int) -> tuple[str, ...]:
        """Return ids of ``count`` operations; no other cell uses them."""
        return tuple(f"{self.name}-{number:03}" for number in range(count))

    @property
    def sentinel_operation(self) -> str:
        """Operation after all others: once its message is handled, no other message is in transit."""
        return f"{self.name}-closing"


ON_OFF: Mapping[bool, str] = {True: "on", False: "off"}
CELLS = tuple(CrashCell(*case) for case in product(CrashPoint, (True, False), (True, False)))


class CrashVerdict(StrEnum):
    """Verdict on the effects of a cell's operations."""

    EXACT = "exact"
    DUPLICATED = "duplicated"
    LOST = "lost"


@dataclass(frozen=True)
class EffectTally:
    """Numbers of operations without an effect and with more than one."""

    lost: int
    duplicated: int

    @property
    def verdict(self) -> CrashVerdict:
        """``lost`` takes precedence over ``duplicated``."""
        return CrashVerdict.LOST if self.lost else CrashVerdict.DUPLICATED if self.duplicated else CrashVerdict.EXACT


def effect_tally(operations: Sequence[str], effects: Mapping[str, int]) -> EffectTally:
    """Count lost and duplicated operations; ``effects`` maps an operation to its number of effects."""
    counts = [effects.get(operation, 0) for operation in operations]
    return EffectTally(lost=counts.count(0), duplicated=sum(count > 1 for count in counts))


@dataclass(frozen=True)
class ExpectedVerdict:
    """Expected verdict of a cell, and the reason in one sentence."""

    verdict: CrashVerdict
    reason: str


ROLLED_BACK = (
    "The crash rolled back state and message together, so the caller's retry was the first execution and neither "
    "deduplication nor inbox was needed."
)

EXPECTED_VERDICTS: Mapping[CrashCell, ExpectedVerdict] = {
    CrashCell(CrashPoint.BEFORE_COMMIT, True, True): ExpectedVerdict(CrashVerdict.EXACT, ROLLED_BACK),
    CrashCell(CrashPoint.BEFORE_COMMIT, True, False): ExpectedVerdict(CrashVerdict.EXACT, ROLLED_BACK),
    CrashCell(CrashPoint.BEFORE_COMMIT, False, True): ExpectedVerdict(CrashVerdict.EXACT, ROLLED_BACK),
    CrashCell(CrashPoint.BEFORE_COMMIT, False, False): ExpectedVerdict(CrashVerdict.EXACT, ROLLED_BACK),
    CrashCell(CrashPoint.BEFORE_PUBLISH, True, True): ExpectedVerdict(
        CrashVerdict.EXACT,
        "The outbox kept the message across the crash; the caller's retry had the same message id and was not enqueued "
        "again.",
    ),
    CrashCell(CrashPoint.BEFORE_PUBLISH, True, False): ExpectedVerdict(
        CrashVerdict.EXACT,
        "The retry had the same message id and was not enqueued again, so the inbox was not needed.",
    ),
    CrashCell(CrashPoint.BEFORE_PUBLISH, False, True): ExpectedVerdict(
        CrashVerdict.DUPLICATED,
        "The retry was enqueued with a new message id, and an inbox does not recognise one operation under two ids.",
    ),
    CrashCell(CrashPoint.BEFORE_PUBLISH, False, False): ExpectedVerdict(
        CrashVerdict.DUPLICATED,
        "The retry was enqueued with a new message id, and without an inbox both messages took effect.",
    ),
    CrashCell(CrashPoint.BEFORE_MARK, True, True): ExpectedVerdict(
        CrashVerdict.EXACT,
        "The relay sent the unmarked row again and the inbox dropped it; the caller's retry was not enqueued again.",
    ),
    CrashCell(CrashPoint.BEFORE_MARK, True, False): ExpectedVerdict(
        CrashVerdict.DUPLICATED,
        "The relay sent the unmarked row again, and without an inbox the second delivery took effect too.",
    ),
    CrashCell(CrashPoint.BEFORE_MARK, False, True): ExpectedVerdict(
        CrashVerdict.DUPLICATED,
        "The inbox dropped the row that was sent again, but not the caller's retry with a new message id.",
    ),
    CrashCell(CrashPoint.BEFORE_MARK, False, False): ExpectedVerdict(
        CrashVerdict.DUPLICATED, "The row was sent again, the retry was enqueued too, and every delivery took effect."
    ),
    CrashCell(CrashPoint.BEFORE_ACK, True, True): ExpectedVerdict(
        CrashVerdict.EXACT, "The broker redelivered the unacknowledged message, and the inbox dropped it."
    ),
    CrashCell(CrashPoint.BEFORE_ACK, True, False): ExpectedVerdict(
        CrashVerdict.DUPLICATED,
        "The broker redelivered the unacknowledged message, which the producer's deduplication cannot prevent.",
    ),
    CrashCell(CrashPoint.BEFORE_ACK, False, True): ExpectedVerdict(
        CrashVerdict.EXACT,
        "The broker redelivered the message and the inbox dropped it; the producer repeated nothing, so its "
        "deduplication was not needed.",
    ),
    CrashCell(CrashPoint.BEFORE_ACK, False, False): ExpectedVerdict(
        CrashVerdict.DUPLICATED,
        "The broker redelivered the unacknowledged message, and without an inbox it took effect twice.",
    ),
}
