"""Use case: the sweeper ends the wait of a booking for a reply that can no longer come.

Every request has a deadline in the database until its reply takes effect, in the transaction that changes the booking.
So no booking waits without a deadline, unless something has broken this invariant: a message under a wrong id, or a
deleted row. The sweeper finds such a booking and replies in place of the deadline, through the endpoint.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from prebook.booking import metrics
from prebook.booking.domain.booking import Booking
from prebook.booking.process import AwaitedReply, awaited_reply
from prebook.booking.store import BookingWork
from prebook.contracts.message import Unavailable
from prebook.messaging.deadlines import settle_each
from prebook.messaging.envelope import Envelope, MessageKind, message_id, reply_id
from prebook.patterns.trace import TraceContext
from prebook.runtime.service import ServiceContext

SWEEP_INTERVAL_S = 10.0
MIN_AGE = timedelta(minutes=1)
"""Age from which a booking is looked at. Most are settled by then, and are never looked at again."""
MAX_PAGE_SIZE = 5_000
"""Bookings that one sweep looks at for the first time."""
MAX_WAITING = 5_000
"""Bookings that wait for a reply and are looked at in every sweep; above it, no further ones are added."""
log = structlog.get_logger()


class Sweeper:
    """Looks at every booking once, and again as long as it waits for a reply."""

    def __init__(self, context: ServiceContext[BookingWork], min_age: timedelta = MIN_AGE) -> None:
        self._context = context
        self._min_age = min_age
        self._looked_at_until = datetime(1970, 1, 1, tzinfo=UTC)
        self._waiting: dict[str, AwaitedReply] = {}

    async def sweep(self) -> int:
        """End the wait of all bookings without a deadline that this sweep finds; return their number."""
        await self._add_waiting()
        replies = [self._reply(booking, awaited) for booking, awaited in await self._find_stranded()]
        return await settle_each(replies, self._end_wait)

    async def _end_wait(self, reply: Envelope) -> None:
        log.error("booking without a deadline ended", conversation_id=reply.conversation_id, flow=reply.flow)
        await self._context.gateway.process(reply)
        metrics.count_swept(reply.flow)

    async def _add_waiting(self) -> None:
        if len(self._waiting) >= MAX_WAITING:
            return
        before = self._context.clock() - self._min_age
        async with self._context.units.background() as work:
            page = await work.list_waiting(self._looked_at_until, before, MAX_PAGE_SIZE)
        self._looked_at_until = page.looked_at_until
        self._waiting |= {booking.id: awaited for booking in page.bookings if (awaited := awaited_reply(booking))}

    async def _find_stranded(self) -> Sequence[tuple[Booking, AwaitedReply]]:
        """Return the bookings that still wait for a reply which no deadline and no message of the outbox will bring.

        The deadlines are read first: a booking that waits for the same reply afterwards waited for it then too.
        """
        if not self._waiting:
            return []
        stranded = list[tuple[Booking, AwaitedReply]]()
        requests = {
            message_id(name, awaited.flow, key): name for name, awaited in self._waiting.items() for key in awaited.keys
        }
        async with self._context.units.background() as work:
            outstanding = {requests[request] for request in await work.list_outstanding(list(requests))}
        for name in self._waiting.keys() - outstanding:
            async with self._context.units.background() as work:
                booking = await work.find(name)
            expected = self._waiting.pop(name)
            awaited = awaited_reply(booking) if booking else None
            if booking and awaited:
                self._waiting[name] = awaited
                if awaited == expected:
                    stranded.append((booking, awaited))
        return stranded

    def _reply(self, booking: Booking, awaited: AwaitedReply) -> Envelope:
        """Return the reply of the deadline under an id of its own: the inbox may hold that of the real reply."""
        body: Any = Unavailable(reason="deadline")
        return Envelope(
            id=reply_id(message_id(booking.id, awaited.flow, awaited.sweep_key)),
            kind=MessageKind.REPLY,
            flow=awaited.flow,
            body=body,
            source="booking",
            conversation_id=booking.id,
            time=self._context.clock(),
            plan=booking.plan,
            trace=TraceContext().child(),
        )
