"""Recorder of dead letters: each is stored in its own transaction."""

from datetime import datetime

import structlog

from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.messaging.errors import ForbiddenSender, error_summary
from prebook.messaging.headers import MESSAGE_ID_HEADER
from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.operations.dead_letters.metrics import count_expired_request
from prebook.operations.dead_letters.record import (
    DeadLetterRecord,
    indexable_text,
    is_expired_request,
    minimal_record,
    record_of,
)
from prebook.operations.dead_letters.store import DeadLetterWork, UnstorableMessage
from prebook.topology.sender_check import MessageOrigin, SenderCheck

log = structlog.get_logger()


class DeadLetterRecorder:
    """Recorder of dead letters of any form."""

    def __init__(self, begin: BeginUnitOfWork[DeadLetterWork], check_sender: SenderCheck) -> None:
        """``check_sender``: check of what the broker has dead-lettered before its consumer could check it."""
        self._begin = begin
        self._check_sender = check_sender

    async def record(self, dead_letter: DeadLetter) -> None:
        """Store ``dead_letter``, or count it if it is a request that expired in its queue.

        Raises only if the database fails, never because of the message's content.
        """
        now = utc_now()
        if is_expired_request(dead_letter, now):
            return _count_expired(dead_letter)
        record = _read_record(dead_letter, now, self._find_refusal(dead_letter))
        try:
            await self._store(record)
        except UnstorableMessage as error:
            await self._store(_minimal_record(dead_letter, now, error))
        return None

    def _find_refusal(self, dead_letter: DeadLetter) -> ForbiddenSender | None:
        """Return why the sender may not send this message; None if it may, or if the message's consumer parked it."""
        if not dead_letter.x_deaths:
            return None
        origin = MessageOrigin(addresses.PARKING, dead_letter.queue, dead_letter.user)
        try:
            self._check_sender(dead_letter.queue, origin, dead_letter.headers)
        except ForbiddenSender as refusal:
            return refusal
        return None

    async def _store(self, record: DeadLetterRecord) -> None:
        async with self._begin() as work:
            is_new = await work.add_dead_letter(record)
        log.info(
            "dead letter recorded" if is_new else "dead letter already recorded",
            queue=record.queue,
            cause=record.cause,
            message_id=record.message_id,
            conversation_id=record.conversation_id,
            trace_id=record.trace_id,
        )


def _count_expired(dead_letter: DeadLetter) -> None:
    count_expired_request(dead_letter.queue)
    log.info(
        "request expired in queue",
        queue=dead_letter.queue,
        message_id=indexable_text(dead_letter.headers.get(MESSAGE_ID_HEADER, "")),
    )


def _read_record(dead_letter: DeadLetter, now: datetime, refusal: ForbiddenSender | None) -> DeadLetterRecord:
    try:
        return record_of(dead_letter, now, refusal)
    except Exception as error:  # noqa: BLE001 - an unreadable message is recorded too
        return _minimal_record(dead_letter, now, error)


def _minimal_record(dead_letter: DeadLetter, now: datetime, error: Exception) -> DeadLetterRecord:
    log.error("dead letter unreadable", queue=dead_letter.queue, error=error_summary(error))
    return minimal_record(dead_letter, now, error_summary(error))
