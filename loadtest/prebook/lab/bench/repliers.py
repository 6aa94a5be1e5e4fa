"""Who answers questions from a queue: a service process of ours, and the same by hand, side by side."""

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
from prebook.messaging.envelope import request_id_of

REPLY_TIMEOUT_S = 120.0
CONCURRENCY = 400
REPLY_QUEUE = "bench.replies"


@dataclass
class Requestor:
    """Asks and hears the answers; one question is known by its number in the run."""

    exchange: AbstractExchange
    routing_key: str
    build_message: Callable[[str], aio_pika.Message]
    request_id_of: Callable[[AbstractIncomingMessage], str]
    process: ModuleProcess | None
    runs: int = 0
    pending: dict[str, asyncio.Future[float]] = field(default_factory=dict)

    def read_cpu_time_s(self) -> float:
        return read_cpu_time_s(self.process.pid) if self.process else 0.0

    def on_reply(self, message: AbstractIncomingMessage) -> None:
        self.complete(self.request_id_of(message))

    def complete(self, name: str) -> None:
        future = self.pending.pop(name, None)
        if future is not None:
            future.set_result(time.perf_counter())

    def build_requests(self, count: int) -> list[tuple[str, aio_pika.Message]]:
        self.runs += 1
        ids = [f"q{self.runs}-{number}" for number in range(count)]
        return [(name, self.build_message(name)) for name in ids]

    async def request(self, name: str, message: aio_pika.Message) -> float:
        """Seconds from the question to its answer. Raises UserError."""
        self.pending[name] = answer = asyncio.get_running_loop().create_future()
        asked = time.perf_counter()
        await self.exchange.publish(message, self.routing_key)
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                answered_at: float = await answer
        except TimeoutError:
            raise UserError(
                f"{name} was not answered within {REPLY_TIMEOUT_S:g} s", "read the log of the replier"
            ) from None
        return answered_at - asked


async def run_requests(requestor: Requestor, count: int, *, concurrency: int = CONCURRENCY) -> RoundFigures:
    """So many questions wait at a time: more than are taken, and asking costs less than answering."""
    questions = iter(requestor.build_requests(count))

    async def asker() -> None:
        for name, message in questions:
            await requestor.request(name, message)

    cpu_s = requestor.read_cpu_time_s()
    began = time.perf_counter()
    await asyncio.gather(*(asker() for _ in range(concurrency)))
    took = time.perf_counter() - began
    return {"messages_s": count / took, "cpu_us": (requestor.read_cpu_time_s() - cpu_s) / count * 1e6}


@asynccontextmanager
async def start_repliers(testbed: BenchTestbed) -> AsyncIterator[tuple[Requestor, Requestor]]:
    """(ours, by hand); both take sixteen at a time."""
    async with create_tables(testbed), divert_replies(testbed) as (channel, queue):
        replies = await channel.declare_queue(relay.QUEUE, durable=True, arguments=QUORUM_ARGUMENTS)
        await channel.declare_queue(consumer.QUEUE, durable=True, arguments=QUORUM_ARGUMENTS)
        given = {"BENCH_DSN": testbed.dsn, "BENCH_AMQP_URL": testbed.amqp_url}
        async with (
            start_stub_service(testbed, consumer.PREFETCH) as suite,
            testbed.run_module("prebook.lab.bench.baselines.consumer", env=given) as by_hand,
        ):
            await by_hand.wait_for_output("ready")
            yield (
                await open_suite_requestor(testbed, channel, queue, suite),
                await _open_baseline_requestor(channel, replies, by_hand),
            )


@asynccontextmanager
async def create_tables(testbed: BenchTestbed) -> AsyncIterator[None]:
    async with testbed.database() as database:
        await database.execute(f"{relay.SCHEMA}; {relay.DROP_TRIGGER}; {consumer.SCHEMA}; {stub_service.SCHEMA}")
    try:
        yield
    finally:
        async with testbed.database() as database:
            await database.execute("DROP TABLE pricing.effect")


@asynccontextmanager
async def divert_replies(testbed: BenchTestbed) -> AsyncIterator[tuple[AbstractChannel, AbstractQueue]]:
    """A channel, and the queue that booking's answers go to meanwhile."""
    connection, channel = await open_channel(testbed)
    theirs = addresses.reply_queue("booking")
    try:
        yield channel, await divert_queue(channel, addresses.REPLIES, "booking", theirs, REPLY_QUEUE)
    finally:
        await (await channel.get_queue(theirs, ensure=False)).bind(addresses.REPLIES, "booking")
        await connection.close()


@asynccontextmanager
async def start_stub_service(testbed: BenchTestbed, prefetch: int, **env: str) -> AsyncIterator[ModuleProcess]:
    """A process of ours that takes so many at a time."""
    own = {**testbed.envs["pricing"], "PREBOOK_COUPLINGS": str(_write_policies(testbed, prefetch)), **env}
    async with testbed.run_module("prebook.lab.bench.stub_service", env=own) as suite:
        await wait_until(lambda: is_ready(testbed.urls["pricing"]), READY_TIMEOUT_S)
        yield suite


async def open_suite_requestor(
    testbed: BenchTestbed, channel: AbstractChannel, replies: AbstractQueue, process: ModuleProcess | None
) -> Requestor:
    user = testbed.stack.broker.user
    side = Requestor(
        exchange=await channel.get_exchange(addresses.REQUESTS, ensure=False),
        routing_key="quote_fare",
        build_message=lambda name: to_aio_pika(encode(fare_request(name, conversation_id=name)), user=user),
        request_id_of=lambda message: request_id_of(str(message.message_id)),
        process=process,
    )
    await replies.consume(_reply_handler(side), no_ack=True)
    return side


async def _open_baseline_requestor(
    channel: AbstractChannel, replies: AbstractQueue, process: ModuleProcess
) -> Requestor:
    side = Requestor(
        exchange=channel.default_exchange,
        routing_key=consumer.QUEUE,
        build_message=_minimal_message,
        request_id_of=lambda message: str(message.type),
        process=process,
    )
    await replies.consume(_reply_handler(side), no_ack=True)
    return side


def _reply_handler(requestor: Requestor) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
    async def hear(message: AbstractIncomingMessage) -> None:
        requestor.on_reply(message)

    return hear


def _minimal_message(name: str) -> aio_pika.Message:
    """The same body, with the least properties."""
    body = encode(fare_request(name, conversation_id=name)).body
    return aio_pika.Message(body, message_id=name, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)


def _write_policies(testbed: BenchTestbed, prefetch: int) -> Path:
    told = Path(testbed.envs["pricing"]["PREBOOK_COUPLINGS"]).read_text()
    made = testbed.folder / f"prefetch-{prefetch}.toml"
    made.write_text(re.sub(r"(?m)^prefetch = \d+", f"prefetch = {prefetch}", told))
    return made
