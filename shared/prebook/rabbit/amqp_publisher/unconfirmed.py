"""Which messages are on their way, and what became of them. Knows futures and nothing of sockets."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass

from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.rabbit.amqp_publisher.frame_decoder import PublisherConfirm, ReturnedMessage

NACK_RETRY_AFTER_S = (1.0, 3.0)
"""How long to leave a full queue alone. Trying at once would only be refused again, at the cost of a row's update."""


@dataclass(slots=True)
class PendingConfirm:
    exchange: str
    key: str
    message_id: str
    deadline: float
    """Loop time by which it must be confirmed."""
    future: asyncio.Future[None]
    returned: bool = False


class UnconfirmedMessages:
    """Delivery tags count from 1 in the order of publishing, as the broker counts them."""

    def __init__(self) -> None:
        self._tag = 0
        self._pending: dict[int, PendingConfirm] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, pending: PendingConfirm) -> None:
        self._tag += 1
        self._pending[self._tag] = pending

    def settle(self, confirm: PublisherConfirm) -> None:
        for pending in self._pop_confirmed(confirm):
            if not pending.future.done():
                _resolve(pending, accepted=confirm.accepted)

    def mark_returned(self, returned: ReturnedMessage) -> None:
        """The broker names no tag, but returns in the order of publishing: the oldest of this address and id is it."""
        wanted = (returned.exchange, returned.key, returned.message_id)
        for pending in self._pending.values():
            if not pending.returned and (pending.exchange, pending.key, pending.message_id) == wanted:
                pending.returned = True
                return

    def fail_overdue(self, now: float) -> None:
        """Fail what has waited too long. Its confirm may still come, and is then nobody's."""
        late = [tag for tag, pending in self._pending.items() if pending.deadline <= now]
        for tag in late:
            _fail(self._pending.pop(tag), "no confirm within the time that a queue may need")

    def fail_all(self, reason: str) -> None:
        """The connection is gone: whether any of them arrived cannot be known."""
        for tag in list(self._pending):
            _fail(self._pending.pop(tag), reason)

    def _pop_confirmed(self, confirm: PublisherConfirm) -> Iterator[PendingConfirm]:
        tags = [tag for tag in self._pending if tag <= confirm.tag] if confirm.multiple else [confirm.tag]
        for tag in tags:
            if tag in self._pending:
                yield self._pending.pop(tag)


def _resolve(pending: PendingConfirm, *, accepted: bool) -> None:
    place = f"{pending.exchange} {pending.key!r}"
    if pending.returned:
        told = f"{pending.exchange} routes {pending.key!r} to no queue; declare the topology"
        pending.future.set_exception(Undeliverable(told, cause="unroutable"))
    elif accepted:
        pending.future.set_result(None)
    else:
        text, pause_s = f"a queue behind {place} refused it or is full", random.uniform(*NACK_RETRY_AFTER_S)
        pending.future.set_exception(Unreachable(text, reason="nacked", retry_after_s=pause_s))


def _fail(pending: PendingConfirm, reason: str) -> None:
    if not pending.future.done():
        pending.future.set_exception(Unreachable(reason))
