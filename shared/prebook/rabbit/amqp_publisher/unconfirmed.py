"""Published messages that await their confirm. No I/O: confirms and time come from the connection.

Source: RabbitMQ, "Consumer Acknowledgements and Publisher Confirms".
"""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass

from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.rabbit.amqp_publisher.frame_decoder import PublisherConfirm, ReturnedMessage

NACK_RETRY_AFTER_S = (1.0, 3.0)
"""Bounds, in seconds, of the random pause after a refusal: a full queue would refuse an immediate retry again."""

OVERDUE = "no confirm within the time limit"


@dataclass(slots=True)
class PendingConfirm:
    """One published message. ``future`` ends with None, Undeliverable or Unreachable."""

    exchange: str
    key: str
    message_id: str
    deadline: float
    """Loop time by which the message must be confirmed."""
    future: asyncio.Future[None]
    frames: bytes = b""
    returned: bool = False

    def fail(self, reason: str) -> None:
        """End with Unreachable: whether the message arrived is unknown."""
        if not self.future.done():
            self.future.set_exception(Unreachable(reason))

    def refuse(self, reason: str) -> None:
        """End with Undeliverable, in the broker's words: the broker does not take this message."""
        if not self.future.done():
            problem = f"{self.exchange} {self.key!r}: the broker refused {self.message_id or 'a message'}: {reason}"
            self.future.set_exception(Undeliverable(problem, cause="refused"))


class UnconfirmedMessages:
    """Messages by delivery tag. Tags count from 1 in the order of publishing, as the broker counts them."""

    def __init__(self) -> None:
        self._tag = 0
        self._pending: dict[int, PendingConfirm] = {}
        self._overdue_tags: set[int] = set()

    @property
    def on_channel(self) -> int:
        """Number of messages that the broker has not confirmed, with those that are overdue."""
        return len(self._pending) + len(self._overdue_tags)

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, pending: PendingConfirm) -> None:
        """Give the message the next delivery tag; call it in the order of writing."""
        self._tag += 1
        self._pending[self._tag] = pending

    def settle(self, confirm: PublisherConfirm) -> None:
        """Resolve the futures of the messages that the confirm covers; unknown tags are ignored."""
        for pending in self._pop_confirmed(confirm):
            if not pending.future.done():
                _resolve(pending, accepted=confirm.accepted)

    def mark_returned(self, returned: ReturnedMessage) -> None:
        """Mark the oldest message of this address and id: basic.return has no tag, but comes in publishing order."""
        wanted = (returned.exchange, returned.key, returned.message_id)
        for pending in self._pending.values():
            if not pending.returned and (pending.exchange, pending.key, pending.message_id) == wanted:
                pending.returned = True
                return

    def fail_overdue(self, now: float) -> None:
        """Fail messages whose deadline has passed. A later confirm of theirs is ignored."""
        late = [tag for tag, pending in self._pending.items() if pending.deadline <= now]
        self._overdue_tags.update(late)
        for tag in late:
            self._pending.pop(tag).fail(OVERDUE)

    def fail_all(self, reason: str) -> None:
        """Fail every message, for a lost connection: whether any of them arrived is unknown."""
        for tag in list(self._pending):
            self._pending.pop(tag).fail(reason)

    def restart(self) -> list[PendingConfirm]:
        """Count tags from 1 again, for a new channel, and return the messages to publish there again, in order."""
        again = [pending for pending in self._pending.values() if not pending.future.done()]
        for pending in again:
            pending.returned = False
        self._tag = 0
        self._pending.clear()
        self._overdue_tags.clear()
        return again

    def _pop_confirmed(self, confirm: PublisherConfirm) -> Iterator[PendingConfirm]:
        tags = [tag for tag in self._pending if tag <= confirm.tag] if confirm.multiple else [confirm.tag]
        if self._overdue_tags:
            self._overdue_tags = {
                tag for tag in self._overdue_tags if tag > confirm.tag or not (confirm.multiple or tag == confirm.tag)
            }
        for tag in tags:
            if tag in self._pending:
                yield self._pending.pop(tag)


def _resolve(pending: PendingConfirm, *, accepted: bool) -> None:
    address = f"{pending.exchange} {pending.key!r}"
    if pending.returned:
        problem = f"{pending.exchange} routes {pending.key!r} to no queue; declare the topology"
        pending.future.set_exception(Undeliverable(problem, cause="unroutable"))
    elif accepted:
        pending.future.set_result(None)
    else:
        problem = f"a queue bound to {address} refused the message or is full"
        delay_s = random.uniform(*NACK_RETRY_AFTER_S)
        pending.future.set_exception(Unreachable(problem, reason="nacked", retry_after_s=delay_s))
