"""Repliers that consume requests from a queue: a service process of the suite, and a hand-written consumer."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage, AbstractQueue

from prebook.devstack.errors import UserError
from prebook.lab.bench import stub_service
from prebook.lab.bench.aio_pika_message import to_aio_pika
from prebook.lab.bench.baselines import consumer, relay
from prebook.lab.bench.messages import fare_request
from prebook.lab.bench.queues import QUORUM_ARGUMENTS, divert_queue, open_channel
from prebook.lab.bench.rounds import RoundFigures
from prebook.lab.bench.testbed import READY_TIMEOUT_S, BenchTestbed, ModuleProcess, is_ready, wait_until
from prebook.lab.process_tree import read_cpu_time_s
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.envelope import message_id

REPLY_TIMEOUT_S = 120.0
CONCURRENCY = 400
"""Requests in flight: more than a replier takes at a time, so that its queue is never empty."""
REPLY_QUEUE = "bench.replies"
FARE_REPLY_KEY = addresses.caller_routing_key("booking", "quote_fare")


@dataclass
class Requestor:
    """Publishes requests and matches replies to them by the request id.

    Source: EIP, Request-Reply and Correlation Identifier. ``process``: the replier, whose CPU time is measured.
    """

    exchange: AbstractExchange
    routing_key: str
    build_message: Callable[[str], aio_pika.Message]
    request_id_of: Callable[[AbstractIncomingMessage], str]
    process: ModuleProcess | None
    runs: int = 0
    pending: dict[str, asyncio.Future[float]] = field(default_factory=dict)

    def read_cpu_time_s(self) -> float:
        """Return the CPU time of the replier in seconds, 0 if there is no process."""
        return read_cpu_time_s(self.process.pid) if self.process else 0.0

    def on_reply(self, message: AbstractIncomingMessage) -> None:
        """Complete the request to which ``message`` is the reply."""
        self.complete(self.request_id_of(message))

    def complete(self, request_id: str) -> None:
        """Complete a pending request; ignore an id that is not pending."""
        future = self.pending.pop(request_id, None)
        if future is not None:
            future.set_result(time.perf_counter())

    def build_requests(self, count: int) -> list[tuple[str, aio_pika.Message]]:
        """Return ``count`` pairs of a new request id and its message."""
        self.runs += 1
        request_ids = [f"q{self.runs}-{number}" for number in range(count)]
        return [(request_id, self.build_message(request_id)) for request_id in request_ids]

    async def request(self, request_id: str, message: aio_pika.Message) -> float:
        """Publish a request, wait for its reply and return the seconds between the two.

        Raises:
            UserError: No reply came within REPLY_TIMEOUT_S seconds.
        """
        self.pending[request_id] = reply = asyncio.get_running_loop().create_future()
        requested_at = time.perf_counter()
        await self.exchange.publish(message, self.routing_key)
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                replied_at: float = await reply
        except TimeoutError:
            raise UserError(
                f"{request_id} got no reply within {REPLY_TIMEOUT_S:g} s", "try again while the machine is less busy"
            ) from None
        return replied_at - requested_at


async def run_requests(requestor: Requestor, count: int, *, concurrency: int = CONCURRENCY) -> RoundFigures:
    """Send ``count`` requests with ``concurrency`` in flight.

    Return ``messages_s``, replies per second, and ``cpu_us``, CPU time of the replier per message.
    """
    requests = iter(requestor.build_requests(count))

    async def worker() -> None:
        for request_id, message in requests:
            await requestor.request(request_id, message)

    cpu_s = requestor.read_cpu_time_s()
    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    took_s = time.perf_counter() - started
    return {"messages_s": count / took_s, "cpu_us": (requestor.read_cpu_time_s() - cpu_s) / count * 1e6}


@asynccontextmanager
async def start_repliers(testbed: BenchTestbed) -> AsyncIterator[tuple[Requestor, Requestor]]:
    """Start both repliers with a prefetch of 16; yield the requestors of the suite's and of the hand-written one."""
    async with create_tables(testbed), divert_replies(testbed) as (channel, queue):
        replies = await channel.declare_queue(relay.QUEUE, durable=True, arguments=QUORUM_ARGUMENTS)
        await channel.declare_queue(consumer.QUEUE, durable=True, arguments=QUORUM_ARGUMENTS)
        env = {"BENCH_DSN": testbed.dsn, "BENCH_AMQP_URL": testbed.amqp_url}
        async with (
            start_stub_service(testbed, consumer.PREFETCH) as suite_process,
            testbed.run_module("prebook.lab.bench.baselines.consumer", env=env) as baseline_process,
        ):
            await baseline_process.wait_for_output("ready")
            yield (
                await open_suite_requestor(channel, queue, suite_process),
                await _open_baseline_requestor(channel, replies, baseline_process),
            )


@asynccontextmanager
async def create_tables(testbed: BenchTestbed) -> AsyncIterator[None]:
    """Create the tables of both repliers, and drop the one in pricing's schema when the block ends."""
    async with testbed.database() as database:
        await database.execute(f"{relay.SCHEMA}; {relay.DROP_TRIGGER}; {consumer.SCHEMA}; {stub_service.SCHEMA}")
    try:
        yield
    finally:
        async with testbed.database() as database:
            await database.execute("DROP TABLE pricing.effect")


@asynccontextmanager
async def divert_replies(testbed: BenchTestbed) -> AsyncIterator[tuple[AbstractChannel, AbstractQueue]]:
    """Route booking's replies to a queue of the bench until the block ends; yield a channel and that queue."""
    connection, channel = await open_channel(testbed)
    reply_queue = addresses.reply_queue("booking")
    try:
        yield channel, await divert_queue(channel, addresses.REPLIES, FARE_REPLY_KEY, reply_queue, REPLY_QUEUE)
    finally:
        await (await channel.get_queue(reply_queue, ensure=False)).bind(addresses.REPLIES, FARE_REPLY_KEY)
        await connection.close()


@asynccontextmanager
async def start_stub_service(testbed: BenchTestbed, prefetch: int, **env: str) -> AsyncIterator[ModuleProcess]:
    """Run the stub service with ``prefetch`` and ``env`` until the block ends; yield its process once it is ready."""
    service_env = {**testbed.envs["pricing"], "PREBOOK_COUPLINGS": str(_write_policies(testbed, prefetch)), **env}
    async with testbed.run_module("prebook.lab.bench.stub_service", env=service_env) as process:
        await wait_until(lambda: is_ready(testbed.urls["pricing"]), READY_TIMEOUT_S)
        yield process


async def open_suite_requestor(
    channel: AbstractChannel, replies: AbstractQueue, process: ModuleProcess | None
) -> Requestor:
    """Return a requestor that sends the suite's own messages to pricing, as booking, and consumes ``replies``."""
    user = addresses.broker_user("booking")
    requestor = Requestor(
        exchange=await channel.get_exchange(addresses.REQUESTS, ensure=False),
        routing_key="quote_fare",
        build_message=lambda request_id: to_aio_pika(
            encode(fare_request(message_id(request_id, "quote_fare"), conversation_id=request_id)), user=user
        ),
        request_id_of=lambda message: str(message.correlation_id),
        process=process,
    )
    await replies.consume(_reply_handler(requestor), no_ack=True)
    return requestor


async def _open_baseline_requestor(
    channel: AbstractChannel, replies: AbstractQueue, process: ModuleProcess
) -> Requestor:
    requestor = Requestor(
        exchange=channel.default_exchange,
        routing_key=consumer.QUEUE,
        build_message=_minimal_message,
        request_id_of=lambda message: str(message.type),
        process=process,
    )
    await replies.consume(_reply_handler(requestor), no_ack=True)
    return requestor


def _reply_handler(requestor: Requestor) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
    async def on_message(message: AbstractIncomingMessage) -> None:
        requestor.on_reply(message)

    return on_message


def _minimal_message(request_id: str) -> aio_pika.Message:
    """Return a request with the suite's body and the fewest properties that the baseline needs."""
    body = encode(fare_request(request_id, conversation_id=request_id)).body
    return aio_pika.Message(body, message_id=request_id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)


def _write_policies(testbed: BenchTestbed, prefetch: int) -> Path:
    """Write the coupling policies of the testbed with another prefetch, and return the file."""
    policies = Path(testbed.envs["pricing"]["PREBOOK_COUPLINGS"]).read_text()
    file = testbed.folder / f"prefetch-{prefetch}.toml"
    file.write_text(re.sub(r"(?m)^prefetch = \d+", f"prefetch = {prefetch}", policies))
    return file
