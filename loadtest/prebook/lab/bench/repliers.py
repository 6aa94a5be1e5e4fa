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

from prebook.devstack.errors import Trouble
from prebook.lab.bench import stub_service
from prebook.lab.bench.baselines import consumer, relay
from prebook.lab.bench.messages import question
from prebook.lab.bench.queues import QUORUM, in_place_of, open_channel
from prebook.lab.bench.rounds import Figures
from prebook.lab.bench.testbed import READY_WITHIN_S, Beside, Ground, ready, until
from prebook.lab.bench.workload import processor_s
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.rabbit.amqp_message import to_amqp

ANSWERED_WITHIN_S, AT_ONCE = 120.0, 400
REPLIES = "bench.replies"


@dataclass
class Side:
    """Asks and hears the answers; one question is known by its number in the run."""

    exchange: AbstractExchange
    key: str
    made: Callable[[str], aio_pika.Message]
    answered: Callable[[AbstractIncomingMessage], str]
    process: Beside | None
    runs: int = 0
    waiting: dict[str, asyncio.Future[float]] = field(default_factory=dict)

    def cpu_s(self) -> float:
        return processor_s(self.process.pid) if self.process else 0.0

    def heard(self, message: AbstractIncomingMessage) -> None:
        self.heard_of(self.answered(message))

    def heard_of(self, name: str) -> None:
        future = self.waiting.pop(name, None)
        if future is not None:
            future.set_result(time.perf_counter())

    def questions(self, count: int) -> list[tuple[str, aio_pika.Message]]:
        self.runs += 1
        ids = [f"q{self.runs}-{number}" for number in range(count)]
        return [(name, self.made(name)) for name in ids]

    async def ask(self, name: str, message: aio_pika.Message) -> float:
        """Seconds from the question to its answer. Raises Trouble."""
        self.waiting[name] = answer = asyncio.get_running_loop().create_future()
        asked = time.perf_counter()
        await self.exchange.publish(message, self.key)
        try:
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                answered_at: float = await answer
        except TimeoutError:
            raise Trouble(f"{name} was not answered within {ANSWERED_WITHIN_S:g} s", "read the taker's log") from None
        return answered_at - asked


async def answered(side: Side, count: int, *, at_once: int = AT_ONCE) -> Figures:
    """So many questions wait at a time: more than are taken, and asking costs less than answering."""
    questions = iter(side.questions(count))

    async def asker() -> None:
        for name, message in questions:
            await side.ask(name, message)

    cpu_s, began = side.cpu_s(), time.perf_counter()
    await asyncio.gather(*(asker() for _ in range(at_once)))
    took = time.perf_counter() - began
    return {"messages_s": count / took, "cpu_us": (side.cpu_s() - cpu_s) / count * 1e6}


@asynccontextmanager
async def takers(ground: Ground) -> AsyncIterator[tuple[Side, Side]]:
    """(ours, by hand); both take sixteen at a time."""
    async with tables(ground), replies(ground) as (channel, queue):
        answers = await channel.declare_queue(relay.QUEUE, durable=True, arguments=QUORUM)
        await channel.declare_queue(consumer.QUEUE, durable=True, arguments=QUORUM)
        given = {"BENCH_DSN": ground.dsn, "BENCH_AMQP_URL": ground.amqp_url}
        async with (
            taking(ground, consumer.AT_A_TIME) as suite,
            ground.beside("prebook.lab.bench.baselines.consumer", env=given) as by_hand,
        ):
            await by_hand.said("ready")
            yield await ours(ground, channel, queue, suite), await _theirs(channel, answers, by_hand)


@asynccontextmanager
async def tables(ground: Ground) -> AsyncIterator[None]:
    async with ground.database() as database:
        await database.execute(f"{relay.SCHEMA}; {relay.UNWOKEN}; {consumer.SCHEMA}; {stub_service.SCHEMA}")
    try:
        yield
    finally:
        async with ground.database() as database:
            await database.execute("DROP TABLE pricing.effect")


@asynccontextmanager
async def replies(ground: Ground) -> AsyncIterator[tuple[AbstractChannel, AbstractQueue]]:
    """A channel, and the queue that booking's answers go to meanwhile."""
    connection, channel = await open_channel(ground)
    theirs = addresses.reply_queue("booking")
    try:
        yield channel, await in_place_of(channel, addresses.REPLIES, "booking", theirs, REPLIES)
    finally:
        await (await channel.get_queue(theirs, ensure=False)).bind(addresses.REPLIES, "booking")
        await connection.close()


@asynccontextmanager
async def taking(ground: Ground, prefetch: int, **env: str) -> AsyncIterator[Beside]:
    """A process of ours that takes so many at a time."""
    own = {**ground.envs["pricing"], "PREBOOK_COUPLINGS": str(_at_a_time(ground, prefetch)), **env}
    async with ground.beside("prebook.lab.bench.stub_service", env=own) as suite:
        await until(lambda: ready(ground.urls["pricing"]), READY_WITHIN_S)
        yield suite


async def ours(ground: Ground, channel: AbstractChannel, answers: AbstractQueue, process: Beside | None) -> Side:
    user = ground.parts.broker.user
    side = Side(
        exchange=await channel.get_exchange(addresses.REQUESTS, ensure=False),
        key="quote_fare",
        made=lambda name: to_amqp(encode(question(name, conversation=name)), user=user),
        answered=lambda message: str(message.message_id).removesuffix(".answer"),
        process=process,
    )
    await answers.consume(_hearing(side), no_ack=True)
    return side


async def _theirs(channel: AbstractChannel, answers: AbstractQueue, process: Beside) -> Side:
    side = Side(
        exchange=channel.default_exchange,
        key=consumer.QUEUE,
        made=_bare,
        answered=lambda message: str(message.type),
        process=process,
    )
    await answers.consume(_hearing(side), no_ack=True)
    return side


def _hearing(side: Side) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
    async def hear(message: AbstractIncomingMessage) -> None:
        side.heard(message)

    return hear


def _bare(name: str) -> aio_pika.Message:
    """The same body, with the least properties."""
    body = encode(question(name, conversation=name)).body
    return aio_pika.Message(body, message_id=name, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)


def _at_a_time(ground: Ground, prefetch: int) -> Path:
    told = Path(ground.envs["pricing"]["PREBOOK_COUPLINGS"]).read_text()
    made = ground.folder / f"prefetch-{prefetch}.toml"
    made.write_text(re.sub(r"(?m)^prefetch = \d+", f"prefetch = {prefetch}", told))
    return made
