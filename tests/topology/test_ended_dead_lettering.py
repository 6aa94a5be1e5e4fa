"""A broker whose dead-lettering one hostile message ends: operations notices, and the guide's remedy works.

RabbitMQ before 4.0 reads the ``x-death`` header of a message that it dead-letters. One that is an array without tables
ends the worker that does so, and then the supervisor of all these workers, again after every restart of the broker.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aio_pika
import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from prebook.cli.doctor import delay_queue_finding
from prebook.devstack.broker import node
from prebook.devstack.broker.cluster import LocalBroker
from prebook.devstack.broker.installation import find_rabbitmq
from prebook.devstack.filesystem import create_data_dir
from prebook.devstack.servers import Broker
from prebook.flows import OPERATIONS
from prebook.messaging import addresses
from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.operations.delay_queue_check import DelayQueueCheck
from prebook.rabbit.dead_letter_consumer import DeadLetterConsumer
from prebook.rabbit.management import ManagementClient
from prebook.rabbit.publisher import RabbitPublisher
from prebook.topology.model import suite_topology
from tests.conditions import wait_until
from tests.rabbit.raw_amqp import Outcome, RawConnection, array, content_header, publish_frames, table, text
from tests.topology.conftest import PASSWORDS

pytestmark = pytest.mark.real
DELAYS_S = (0.2, 1.0)
JAMMED, OTHER = map(addresses.delay_queue, DELAYS_S)
TOPOLOGY = suite_topology(DELAYS_S)
QUEUE = addresses.request_queue("pricing", "quote_fare")
HOSTILE = table([("x-death", array(text("a"), text("b")))])
START_TIMEOUT_S = 900.0
"""Seconds until the broker is ready; after the remedy it took four minutes."""
NOTICE_TIMEOUT_S = 240.0


class PrivateBroker:
    """A broker of this test, with the suite's topology."""

    def __init__(self, server: LocalBroker, broker: Broker, data_dir: Path) -> None:
        self.server = server
        self.broker = broker
        self.data_dir = data_dir

    def url(self, service: str) -> str:
        host = self.broker.amqp_url.rpartition("@")[2]
        return f"amqp://{addresses.broker_user(service)}:{quote(PASSWORDS[service])}@{host}"

    async def send_delayed(self, delay_queue: str, headers: bytes) -> None:
        """Delay a message of pricing for itself."""
        frames = publish_frames(delay_queue, QUEUE, content_header(b"{}", {"headers": headers}), b"{}")

        def send() -> Outcome:
            with RawConnection(self.url("pricing")) as connection:
                return connection.send(frames)

        assert await asyncio.to_thread(send) is Outcome.CONFIRMED

    async def declare(self) -> None:
        async with self.manage() as management:
            await management.declare(TOPOLOGY, PASSWORDS)

    async def drop_dead_letters(self, queue: str) -> None:
        """Set the queue's policy without its strategy, as the guide says: the broker drops what has expired in it."""
        (policy,) = [each for each in TOPOLOGY.policies if each.name == queue]
        definition = {name: value for name, value in policy.definition if name != "dead-letter-strategy"}
        body = {"pattern": policy.pattern, "definition": definition, "apply-to": policy.apply_to}
        async with self.manage() as management:
            response = await management._request("PUT", f"policies/{management.vhost}/{queue}", json=body)
        assert response.is_success, response.text

    async def restart(self) -> None:
        (process,) = self.server.processes
        assert process.child is not None
        await process.child.stop(30)
        await process.restart()

    def manage(self) -> ManagementClient:
        return ManagementClient(self.broker.management_url, self.broker.user, self.broker.password)


@pytest.fixture
async def private_broker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PrivateBroker]:
    installation = find_rabbitmq()
    if installation is None:
        pytest.skip("RabbitMQ is not installed on this machine")
    monkeypatch.setattr(node, "READY_TIMEOUT_S", START_TIMEOUT_S)
    with create_data_dir() as data_dir:
        server = LocalBroker(installation, data_dir, print)
        try:
            private = PrivateBroker(server, await server.start(), data_dir)
            if int(private.broker.version.partition(".")[0]) >= 4:
                pytest.skip(f"RabbitMQ {private.broker.version} ignores the header")
            await private.declare()
            yield private
        finally:
            await server.stop()


@asynccontextmanager
async def run_check(broker: PrivateBroker) -> AsyncIterator[list[str]]:
    """Run the check as operations does; yield the delay queues in the order in which test messages left them."""
    publisher = RabbitPublisher(broker.url(OPERATIONS), OPERATIONS)
    left: list[str] = []

    async def record(message: DeadLetter) -> None:
        assert check.is_returned(message), message
        left.append(message.x_deaths[0].queue)

    consumer = DeadLetterConsumer(broker.url(OPERATIONS), OPERATIONS, addresses.PARKING_QUEUE, 5, record)
    check = DelayQueueCheck(publisher, DELAYS_S, consumer.connection.up.is_set)
    running = [asyncio.ensure_future(run()) for run in (publisher.connection.run, consumer.connection.run, check.run)]
    try:
        yield left
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def doctor_says() -> tuple[bool, str]:
    """Return what `prebook doctor` reads from the metrics."""
    finding = delay_queue_finding(generate_latest().decode())
    return finding.ok, finding.detail


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_ended_dead_lettering_is_noticed_and_what_is_delayed_arrives_after_the_remedy(
    private_broker: PrivateBroker,
) -> None:
    with capture_logs() as logs:
        async with run_check(private_broker) as left:
            await wait_until(lambda: set(left) == {JAMMED, OTHER}, NOTICE_TIMEOUT_S)
            assert doctor_says() == (True, "the broker returns delayed messages")

            await private_broker.send_delayed(JAMMED, HOSTILE)
            await wait_until(lambda: not doctor_says()[0] and OTHER in doctor_says()[1], NOTICE_TIMEOUT_S)
            await private_broker.send_delayed(OTHER, table([]))
            noticed = {each["queue"] for each in logs if each["event"] == "the broker returns no delayed messages"}
            assert noticed == {JAMMED, OTHER}
            assert JAMMED in read_crashed_queues(private_broker)

            await private_broker.drop_dead_letters(JAMMED)
            await private_broker.restart()
            await private_broker.declare()
            await wait_until(lambda: doctor_says()[0], NOTICE_TIMEOUT_S)
            again = {each["queue"] for each in logs if each["event"] == "the broker returns delayed messages again"}
            assert again == {JAMMED, OTHER}
    assert await receive(private_broker) == b"{}"


def read_crashed_queues(broker: PrivateBroker) -> str:
    """Return the part of the broker's log about the worker that ended."""
    logs = [path.read_text() for path in broker.data_dir.rglob("log/*.log")]
    (crash,) = [log for log in logs if "rabbit_fifo_dlx_worker" in log]
    return crash[: crash.index("function_clause")]


async def receive(broker: PrivateBroker) -> bytes:
    """Return the body of the next message of pricing's queue."""
    async with await aio_pika.connect(broker.url("pricing")) as connection:
        queue = await (await connection.channel()).get_queue(QUEUE, ensure=False)
        async with asyncio.timeout(NOTICE_TIMEOUT_S), queue.iterator(no_ack=True) as messages:
            return (await anext(messages)).body
