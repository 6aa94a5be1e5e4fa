"""Which messages are on their way, and what became of them. Knows futures and nothing of sockets."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass

from prebook.messaging.channel import Undeliverable, Unreachable
from prebook.rabbit.amqp_publisher.frame_decoder import Confirmed, Returned

FULL_PAUSE_S = (1.0, 3.0)
"""How long to leave a full queue alone. Trying at once would only be refused again, at the cost of a row's update."""


@dataclass(slots=True)
class Pending:
    exchange: str
    key: str
    message_id: str
    due: float
    """Loop time by which it must be confirmed."""
    future: asyncio.Future[None]
    returned: bool = False


class Unconfirmed:
    """Delivery tags count from 1 in the order of publishing, as the broker counts them."""

    def __init__(self) -> None:
        self._tag = 0
        self._pending: dict[int, Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, pending: Pending) -> None:
        self._tag += 1
        self._pending[self._tag] = pending

    def settle(self, told: Confirmed) -> None:
        for pending in self._taken(told):
            if not pending.future.done():
                _end(pending, accepted=told.accepted)

    def note(self, told: Returned) -> None:
        """The broker names no tag, but returns in the order of publishing: the oldest of this address and id is it."""
        wanted = (told.exchange, told.key, told.message_id)
        for pending in self._pending.values():
            if not pending.returned and (pending.exchange, pending.key, pending.message_id) == wanted:
                pending.returned = True
                return

    def overdue(self, now: float) -> None:
        """Fail what has waited too long. Its confirm may still come, and is then nobody's."""
        late = [tag for tag, pending in self._pending.items() if pending.due <= now]
        for tag in late:
            _fail(self._pending.pop(tag), "no confirm within the time that a queue may need")

    def lose(self, why: str) -> None:
        """The connection is gone: whether any of them arrived cannot be known."""
        for tag in list(self._pending):
            _fail(self._pending.pop(tag), why)

    def _taken(self, told: Confirmed) -> Iterator[Pending]:
        tags = [tag for tag in self._pending if tag <= told.tag] if told.multiple else [told.tag]
        for tag in tags:
            if tag in self._pending:
                yield self._pending.pop(tag)


def _end(pending: Pending, *, accepted: bool) -> None:
    place = f"{pending.exchange} {pending.key!r}"
    if pending.returned:
        told = f"{pending.exchange} routes {pending.key!r} to no queue; declare the topology"
        pending.future.set_exception(Undeliverable(told, cause="unroutable"))
    elif accepted:
        pending.future.set_result(None)
    else:
        text, pause_s = f"a queue behind {place} refused it or is full", random.uniform(*FULL_PAUSE_S)
        pending.future.set_exception(Unreachable(text, reason="nacked", retry_after_s=pause_s))


def _fail(pending: Pending, why: str) -> None:
    if not pending.future.done():
        pending.future.set_exception(Unreachable(why))
