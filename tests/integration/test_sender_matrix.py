"""Every broker account sends every kind of message by every address that the broker lets it publish to.

Each message has a body that cannot be decoded, so that none has an effect: one that passes the check of its sender is
dead-lettered as ``bad_json``, any other as ``forbidden_sender``. What the broker itself refuses is in
``test_least_privilege.py``.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from uuid import uuid4

import aio_pika
import psutil
import pytest

from prebook.flows import PROCESSES, SERVICES
from prebook.messaging import addresses
from prebook.messaging.codec import EXPECTED_BODY_TYPES
from prebook.messaging.envelope import message_id
from prebook.messaging.policy import retry_delays_s
from prebook.topology.model import suite_topology
from prebook.topology.values import ANY_ROUTING_KEY
from tests.conditions import poll_until
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe
from tests.integration.suite import POLICIES, Suite
from tests.integration.test_messages import VALID_HEADERS

pytestmark = pytest.mark.real
DELAYS_S = sorted(retry_delays_s(POLICIES))
TOPOLOGY = suite_topology(DELAYS_S)
QUEUES = {queue.address: queue.consumer for queue in TOPOLOGY.logical_queues() if queue.consumer in SERVICES}
RETRY_EXCHANGE = addresses.delay_queue(DELAYS_S[0])
"""The shortest rung stands for all: they differ in nothing but their delay."""
EXCHANGES = {addresses.REQUESTS, addresses.REPLIES, addresses.EVENTS, addresses.REDELIVER, RETRY_EXCHANGE}
FIND_CAUSES = "SELECT message_id, queue, cause FROM operations.dead_letter WHERE conversation_id = $1"


@dataclass(frozen=True)
class Attempt:
    """A message of one kind and flow that an account publishes."""

    account: str
    exchange: str
    routing_key: str
    kind: str
    flow: str
    names_user: bool = True

    @property
    def key(self) -> str:
        """Part of the message id that identifies the attempt."""
        named = "" if self.names_user else ":anonymous"
        return f"{self.account}:{self.exchange}:{self.routing_key}{named}"

    @property
    def arrival(self) -> tuple[str, str]:
        """Exchange and routing key that the message has at its queue: a delay queue returns it by another exchange."""
        exchange = addresses.REDELIVER if self.exchange == RETRY_EXCHANGE else self.exchange
        return exchange, self.routing_key


def attempts() -> Iterator[Attempt]:
    for grant in TOPOLOGY.grants:
        if grant.exchange not in EXCHANGES:
            continue
        keys = QUEUES if grant.routing_key == ANY_ROUTING_KEY else [grant.routing_key]
        for routing_key, (kind, flow) in product(keys, EXPECTED_BODY_TYPES):
            yield Attempt(grant.account, grant.exchange, routing_key, kind, flow)
            yield Attempt(grant.account, grant.exchange, routing_key, kind, flow, names_user=False)


def queues_behind(exchange: str, routing_key: str) -> Iterable[str]:
    """Return the addresses of the services' queues that a message reaches."""
    return [
        b.destination
        for b in TOPOLOGY.bindings
        if (b.exchange, b.routing_key) == (exchange, routing_key) and b.destination in QUEUES
    ]


def expected_causes() -> dict[tuple[str, str], str]:
    """Cause by message id (without its conversation) and queue, from the message grants of the model."""
    granted = {(g.queue, g.account, g.exchange, g.routing_key, g.kind.value, g.flow) for g in TOPOLOGY.message_grants}
    causes = {}
    for attempt in attempts():
        for queue in queues_behind(*attempt.arrival):
            may_send = attempt.names_user and (
                (queue, attempt.account, *attempt.arrival, str(attempt.kind), attempt.flow) in granted
            )
            key = f"{attempt.flow}.{attempt.kind}:{attempt.key}"
            causes[key, queue] = "bad_json" if may_send else "forbidden_sender"
        if attempt.routing_key == addresses.TEST_MESSAGE and not attempt.names_user:
            key = f"{attempt.flow}.{attempt.kind}:{attempt.key}"
            causes[key, addresses.TEST_MESSAGE] = "dead_lettered"  # no test message of operations, which names itself
    return causes


@pytest.fixture
async def account_urls(suite: Suite, control: ControlClient) -> dict[str, str]:
    """URL of the broker by account."""
    services = {name: psutil.Process(await control.read_pid(name)).environ()["PREBOOK_AMQP_URL"] for name in PROCESSES}
    return {**services, addresses.ARCHIVE_READER: suite.state.archive_url}


async def test_what_the_model_does_not_declare_is_refused_and_what_it_declares_passes(
    account_urls: dict[str, str], database: DatabaseProbe
) -> None:
    conversation_id = f"matrix-{uuid4().hex[:8]}"
    sent: dict[str, list[Attempt]] = {account: [] for account in account_urls}
    for attempt in attempts():
        sent[attempt.account].append(attempt)
    expected = expected_causes()
    assert {account for account, own in sent.items() if own} == set(account_urls)
    assert {"bad_json", "dead_lettered", "forbidden_sender"} == set(expected.values())
    try:
        async with asyncio.TaskGroup() as publishing:
            for account, own in sent.items():
                publishing.create_task(publish_all(account_urls[account], own, conversation_id))
        found = await read_causes(database, conversation_id, len(expected))
    finally:
        await database.connection.execute(
            "DELETE FROM operations.dead_letter WHERE conversation_id = $1", conversation_id
        )
    assert {name: cause for name, cause in found.items() if expected.get(name) != cause} == {}
    assert found.keys() == expected.keys()


async def publish_all(url: str, own: Iterable[Attempt], conversation_id: str) -> None:
    """Publish the messages of one account."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchanges = {name: await channel.get_exchange(name, ensure=False) for name in EXCHANGES}
        async with asyncio.TaskGroup() as publishing:
            for attempt in own:
                message = aio_pika.Message(
                    b"{",
                    headers=dict(headers_of(attempt, conversation_id)),
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    user_id=addresses.broker_user(attempt.account) if attempt.names_user else None,
                )
                publishing.create_task(
                    exchanges[attempt.exchange].publish(message, attempt.routing_key, mandatory=True)
                )


def headers_of(attempt: Attempt, conversation_id: str) -> Mapping[str, str]:
    return VALID_HEADERS | {
        "ce-id": message_id(conversation_id, attempt.flow, f"{attempt.kind}:{attempt.key}"),
        "ce-subject": conversation_id,
        "prebook-kind": str(attempt.kind),
        "prebook-flow": attempt.flow,
    }


async def read_causes(database: DatabaseProbe, conversation_id: str, count: int) -> dict[tuple[str, str], str]:
    """Wait until ``count`` dead letters are stored, and return their causes."""

    async def all_stored() -> bool:
        stored: int = await database.fetch_value(
            "SELECT count(*) FROM operations.dead_letter WHERE conversation_id = $1", conversation_id
        )
        return stored >= count

    await poll_until(all_stored, 120.0)
    rows = await database.connection.fetch(FIND_CAUSES, conversation_id)
    return {(row["message_id"].removeprefix(f"{conversation_id}."), row["queue"]): row["cause"] for row in rows}
