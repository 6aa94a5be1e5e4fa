"""Takes parked messages in, each in one transaction."""

from datetime import datetime

import structlog
from prometheus_client import Counter

from prebook.messaging.clock import utc_now
from prebook.messaging.errors import spelled
from prebook.messaging.recoverability.dead_letter import Parcel
from prebook.messaging.unit_of_work import Begin
from prebook.operations.dead_letters.record import Noted, bare, noted, short, unwaited
from prebook.operations.store import OperationsWork, Unstorable

log = structlog.get_logger()
EXPIRED = Counter(
    "prebook_messages_expired_in_queue",
    "Questions whose time was up in their queue: dropped, for nobody waits",
    ("queue",),
)


class Intake:
    """Raises while the database takes nothing, whatever that raises; never because of what a message looks like."""

    def __init__(self, begin: Begin[OperationsWork]) -> None:
        self._begin = begin

    async def take(self, parcel: Parcel) -> None:
        now = utc_now()
        if unwaited(parcel, now):
            return _expired(parcel)
        note = _read(parcel, now)
        try:
            await self._keep(note)
        except Unstorable as error:
            await self._keep(_unread(parcel, now, error))
        return None

    async def _keep(self, note: Noted) -> None:
        async with self._begin() as work:
            is_new = await work.take_in(note)
        log.info(
            "taken in" if is_new else "known",
            queue=note.queue,
            cause=note.cause,
            message_id=note.message_id,
            conversation=note.conversation,
            trace_id=note.trace_id,
        )


def _expired(parcel: Parcel) -> None:
    EXPIRED.labels(parcel.queue).inc()
    log.info("expired", queue=parcel.queue, message_id=short(parcel.headers.get("ce-id", "")))


def _read(parcel: Parcel, now: datetime) -> Noted:
    try:
        return noted(parcel, now)
    except Exception as error:  # noqa: BLE001 - what we fail to read is kept all the same
        return _unread(parcel, now, error)


def _unread(parcel: Parcel, now: datetime, error: Exception) -> Noted:
    log.error("not understood", queue=parcel.queue, error=spelled(error))
    return bare(parcel, now, spelled(error))
