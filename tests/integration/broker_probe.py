"""Access to the suite's broker with the administrator's account, and to the dead letters that operations stores."""

import asyncio
from base64 import b64decode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from prebook.contracts.dead_letters import DeadLetterPage, DeadLetterSummary, DeadLetterView
from prebook.flows import SERVICES
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.topology.model import suite_topology
from tests.conditions import poll_until
from tests.integration.database_probe import DatabaseProbe

ALL_MESSAGES = ((addresses.EVENTS, "#"), (addresses.REQUESTS, "#"), (addresses.REPLIES, "#"))
"""Bindings (exchange, routing key) that match every message of the suite."""
TOPOLOGY = suite_topology(())
SENDERS: dict[tuple[str, str], str] = {
    **{
        (grant.exchange, grant.routing_key): addresses.broker_user(grant.account)
        for grant in TOPOLOGY.message_grants
        if grant.account in SERVICES
    },
    **{(addresses.PARKING, q.address): addresses.broker_user(q.consumer) for q in TOPOLOGY.consumed_queues()},
}
"""Broker user of the service that sends to an address (exchange, routing key)."""


@dataclass(frozen=True)
class CapturedMessage:
    """A message with the address to which it was published, as a tap or the parking queue holds it."""

    exchange: str
    routing_key: str
    headers: dict[str, str]
    body: bytes

    @property
    def conversation_id(self) -> str:
        return self.headers.get("ce-subject", "")


class BrokerProbe:
    """Publishes and captures messages while the services run.

    Args:
        channel: channel of the administrator.
        operations: HTTP client of operations, which stores dead letters.
        database: deletes the dead letters that a test expected.
    """

    def __init__(self, channel: AbstractChannel, operations: httpx.AsyncClient, database: DatabaseProbe) -> None:
        self._channel = channel
        self._operations = operations
        self._database = database

    async def tap(self, *bindings: tuple[str, str]) -> AbstractQueue:
        """Bind a queue of the test to (exchange, routing key) pairs, without a change of the senders.

        Source: EIP, Wire Tap.
        """
        queue = await self._channel.declare_queue(exclusive=True)
        for exchange, routing_key in bindings:
            await queue.bind(exchange, routing_key)
        return queue

    async def send(
        self, exchange: str, routing_key: str, wire: WireMessage, times: int = 1, user: str | None = None
    ) -> None:
        """Publish a message ``times`` times with confirms, in the name of ``user`` or of the address's sender.

        Raises DeliveryError if no queue takes it.
        """
        headers: dict[str, Any] = dict(wire.headers)
        message = Message(
            wire.body,
            headers=headers,
            delivery_mode=DeliveryMode.PERSISTENT,
            user_id=user or SENDERS.get((exchange, routing_key)),
        )
        for _ in range(times):
            await self.publish(exchange, routing_key, message)

    async def publish(self, exchange: str, routing_key: str, message: Message) -> None:
        """Publish a message with a confirm. Raises DeliveryError if no queue takes it."""
        target = await self._channel.get_exchange(exchange, ensure=False)
        async with asyncio.timeout(10):
            await target.publish(message, routing_key, mandatory=True)

    async def dead_letter(
        self, exchange: str, routing_key: str, queue: str, wire: WireMessage, *, account: str
    ) -> None:
        """Let the broker itself dead-letter a message of ``account`` as if from ``queue``.

        The message expires at once in a queue of the test that is bound to the address.
        """
        arguments: Any = {
            "x-message-ttl": 0,
            "x-dead-letter-exchange": addresses.PARKING,
            "x-dead-letter-routing-key": queue,
        }
        expiring = await self._channel.declare_queue(exclusive=True, arguments=arguments)
        await expiring.bind(exchange, routing_key)
        await self.send(exchange, routing_key, wire, user=addresses.broker_user(account))

    async def republish(self, messages: Iterable[CapturedMessage], times: int) -> None:
        """Publish captured messages ``times`` more times to their first address."""
        for message in messages:
            await self.send(message.exchange, message.routing_key, WireMessage(message.headers, message.body), times)

    async def collect_parked(self, count: int, timeout_s: float = 30.0) -> list[CapturedMessage]:
        """Wait until operations has parked ``count`` messages, and return and delete them.

        More than ``count`` messages fail this test. They are deleted as well, so that they do not fail the next one.

        Raises:
            AssertionError: fewer messages are parked within ``timeout_s`` seconds, or more than ``count``.
        """
        await poll_until(lambda: self._has_parked(count), timeout_s)
        summaries = await self._list_parked()
        messages = [await self._fetch_parked(summary.id) for summary in summaries]
        await self._database.connection.execute(
            "DELETE FROM operations.dead_letter WHERE id = ANY($1)", [summary.id for summary in summaries]
        )
        assert len(summaries) == count, [(each.queue, each.cause, each.message_id) for each in summaries]
        return messages

    async def _has_parked(self, count: int) -> bool:
        return len(await self._list_parked()) >= count

    async def _list_parked(self) -> Sequence[DeadLetterSummary]:
        response = await self._operations.get("/v1/dead-letters", params={"limit": 1000, "in_state": "parked"})
        page = msgspec.json.decode(response.content, type=DeadLetterPage)
        # Some replies of a partner are garbled, whichever rides a test books.
        return [each for each in page.dead_letters if each.queue != addresses.PARTNER_REPLIES]

    async def _fetch_parked(self, dead_letter_id: int) -> CapturedMessage:
        response = await self._operations.get(f"/v1/dead-letters/{dead_letter_id}")
        view = msgspec.json.decode(response.content, type=DeadLetterView)
        body = (view.payload.text or "").encode() or b64decode(view.payload.base64 or "")
        return CapturedMessage(addresses.PARKING, view.summary.queue, view.headers, body)


async def drain(queue: AbstractQueue) -> list[CapturedMessage]:
    """Acknowledge and return all messages that are in a queue now."""
    messages = []
    while message := await queue.get(fail=False):
        await message.ack()
        messages.append(_capture(message))
    return messages


def _capture(message: AbstractIncomingMessage) -> CapturedMessage:
    headers = {k: v.decode() if isinstance(v, bytes) else str(v) for k, v in message.headers.items()}
    return CapturedMessage(message.exchange or "", message.routing_key or "", headers, message.body)
