"""Recent stages of messages, in the memory of the process: what neither outbox nor inbox record.

The tables hold one row for each message and receiver. Failed attempts, retries, duplicates and the time that handling
took are in metrics and logs only; the timeline of one ride needs them for each message.
"""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from prebook.contracts.conversations import MAX_RECORDS, Stage, StageRecord
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import error_summary
from prebook.messaging.observer import NullObserver

MAX_USUAL_STAGES = 8192
"""Stages ``sent`` and ``handled`` that are kept: those of about a thousand rides, in 2 MB."""
MAX_OTHER_STAGES = 2048
"""All other stages that are kept. They are apart, so that what is rare outlives what is usual."""


_Entry = tuple[str, str, float, float, int, str]
"""Message id, stage, Unix time, seconds, attempt, detail. The cycle collector does not scan a plain tuple of texts and
numbers; it would scan one with enum members, or a named tuple."""
_SENT = Stage.SENT.value
_HANDLED = Stage.HANDLED.value


class RecentStages(NullObserver):
    """Observer that keeps the latest stages of this process; older ones are forgotten, and all of them with it."""

    def __init__(self) -> None:
        self._usual: deque[_Entry] = deque(maxlen=MAX_USUAL_STAGES)
        self._other: deque[_Entry] = deque(maxlen=MAX_OTHER_STAGES)

    def of(self, conversation_id: str) -> Sequence[StageRecord]:
        """Return the newest ``MAX_RECORDS`` stages of a conversation that are kept, the oldest first."""
        prefix = f"{conversation_id}."
        kept: Iterable[_Entry] = (*self._usual, *self._other)
        found = sorted((entry for entry in kept if entry[0].startswith(prefix)), key=lambda entry: entry[2])
        return [_record_of(entry) for entry in found[-MAX_RECORDS:]]

    def on_sent(self, envelope: Envelope, seconds: float) -> None:
        self._usual.append((envelope.id, _SENT, time.time(), seconds, envelope.attempt, ""))

    def on_handled(self, envelope: Envelope, seconds: float) -> None:
        self._usual.append((envelope.id, _HANDLED, time.time(), seconds, envelope.attempt, ""))

    def on_send_failed(self, envelope: Envelope, error: Exception) -> None:
        self._add(envelope, Stage.SEND_FAILED, detail=error_summary(error))

    def on_handling_failed(self, envelope: Envelope, error: Exception) -> None:
        self._add(envelope, Stage.HANDLING_FAILED, detail=error_summary(error))

    def on_duplicate(self, envelope: Envelope) -> None:
        self._add(envelope, Stage.DUPLICATE)

    def on_expired(self, envelope: Envelope, stage: str) -> None:
        self._add(envelope, Stage.EXPIRED, detail=stage)

    def on_retried(self, envelope: Envelope, delay_s: float) -> None:
        self._add(envelope, Stage.RETRIED, seconds=delay_s)

    def on_dead_lettered(self, message_id: str, flow: str, cause: str) -> None:  # noqa: ARG002 - the id names the flow
        self._other.append((message_id, Stage.DEAD_LETTERED.value, time.time(), 0.0, 1, cause))

    def _add(self, envelope: Envelope, stage: Stage, *, seconds: float = 0.0, detail: str = "") -> None:
        self._other.append((envelope.id, stage.value, time.time(), seconds, envelope.attempt, detail))


def _record_of(entry: _Entry) -> StageRecord:
    message_id, stage, at_s, seconds, attempt, detail = entry
    return StageRecord(
        message_id=message_id,
        stage=Stage(stage),
        at=datetime.fromtimestamp(at_s, UTC),
        seconds=seconds,
        attempt=attempt,
        detail=detail,
    )
