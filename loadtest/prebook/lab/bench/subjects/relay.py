"""The outbox relay of a whole service process: how fast it drains a backlog, and how soon a commit is at the broker."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from prebook.coupling.ports import BROKER_LANE
from prebook.devstack.errors import Trouble
from prebook.lab.bench.baselines import relay as yardstick
from prebook.lab.bench.messages import question
from prebook.lab.bench.queues import QUORUM, in_place_of, open_channel, taken_out
from prebook.lab.bench.rounds import Figures, interleaved
from prebook.lab.bench.rows import Better, Measure, Row, row
from prebook.lab.bench.testbed import READY_WITHIN_S, Ground, ready, until
from prebook.messaging import addresses
from prebook.messaging.envelope import Envelope
from prebook.postgres.message_column import to_column

ROWS, KEYS = 20_000, 500
LOOK_EVERY_S, DRAINED_WITHIN_S = 0.02, 120.0
DRAIN = Measure(
    "relay: drain a backlog, order per key kept",
    "rows/s",
    Better.HIGHER,
    "hand-written relay (asyncpg, aio-pika)",
    0.9,
    "ours leases, orders by key with any number of relays, and sends CloudEvents headers",
)
STAGE = """
    INSERT INTO booking.outbox (message_id, kind, flow, conversation, lane, wire, not_before, order_key)
    SELECT id, 'request', 'quote_fare', key, $4, wire, now(), key
    FROM unnest($1::text[], $2::text[], $3::text[]) AS staged (id, key, wire)"""


def envelope(run: str, number: int) -> Envelope:
    return question(f"{run}.{number}.quote_fare", conversation=f"{run}-{number % KEYS}")


@dataclass
class Relays:
    """Two relays' outboxes and queues; only one has work at a time."""

    database: asyncpg.Connection
    ours: AbstractQueue
    theirs: AbstractQueue
    rows: int
    number: int = 0

    async def drain_ours(self) -> Figures:
        self.number += 1
        made = [envelope(f"r{self.number}", number) for number in range(self.rows)]
        columns = ([e.id for e in made], [e.conversation for e in made], [to_column(e) for e in made])
        took = await self._took(
            lambda: self._staged(columns), "SELECT FROM booking.outbox WHERE state = 'waiting' LIMIT 1"
        )
        _refuse(await taken_out(self.ours, self.rows, _ours))
        await self.database.execute("TRUNCATE booking.outbox")
        return {"rows_s": self.rows / took}

    async def drain_theirs(self) -> Figures:
        payloads = [json.dumps({"seq": number, "ride": "x" * 150}) for number in range(self.rows)]
        columns = ([f"k{number % KEYS}" for number in range(self.rows)], payloads)

        async def stage() -> None:
            await self.database.execute(yardstick.BACKLOG, *columns)

        took = await self._took(stage, "SELECT FROM yardstick.outbox WHERE sent_at IS NULL LIMIT 1")
        _refuse(await taken_out(self.theirs, self.rows, _theirs))
        await self.database.execute("TRUNCATE yardstick.outbox")
        return {"rows_s": self.rows / took}

    async def _staged(self, columns: Sequence[Sequence[str]]) -> None:
        async with self.database.transaction():
            await self.database.execute(STAGE, *columns, BROKER_LANE)
            await self.database.execute("NOTIFY prebook_outbox_booking")

    async def _took(self, stage: Callable[[], Awaitable[None]], left: str) -> float:
        async def drained() -> bool:
            return not await self.database.fetch(left)

        await stage()
        began = time.perf_counter()
        await until(drained, DRAINED_WITHIN_S, LOOK_EVERY_S)
        return time.perf_counter() - began


@asynccontextmanager
async def queues(ground: Ground, rows: int) -> AsyncIterator[Relays]:
    """What both fill, and where the outboxes are; no relay runs yet."""
    async with ground.database() as database:
        await database.execute(yardstick.SCHEMA)
        connection, channel = await open_channel(ground)
        theirs_queue = addresses.request_queue("pricing", "quote_fare")
        ours = await in_place_of(channel, addresses.REQUESTS, "quote_fare", theirs_queue, "bench.relay")
        theirs = await channel.declare_queue(yardstick.QUEUE, durable=True, arguments=QUORUM)
        yield Relays(database, ours, theirs, rows)
        await connection.close()


@asynccontextmanager
async def beside_each_other(ground: Ground) -> AsyncIterator[None]:
    """Both relays, running."""
    given = {"BENCH_DSN": ground.dsn, "BENCH_AMQP_URL": ground.amqp_url}
    async with (
        ground.beside("prebook.booking", env=ground.envs["booking"]),
        ground.beside("prebook.lab.bench.baselines.relay", env=given) as by_hand,
    ):
        await by_hand.said("ready")
        await until(lambda: ready(ground.urls["booking"]), READY_WITHIN_S)
        yield


async def measured(ground: Ground, rounds: int) -> list[Row]:
    async with queues(ground, ROWS) as both, beside_each_other(ground):
        found = await interleaved({"ours": both.drain_ours, "peer": both.drain_theirs}, rounds)
    return [row(DRAIN, found["ours"]["rows_s"], found["peer"]["rows_s"])]


def _refuse(wrong: str) -> None:
    if wrong:
        raise Trouble(f"the backlog was not drained rightly: {wrong}", "report this, with the log of the relay")


def _ours(message: AbstractIncomingMessage) -> tuple[str, int]:
    return str(message.correlation_id), int(str(message.message_id).split(".")[1])


def _theirs(message: AbstractIncomingMessage) -> tuple[str, int]:
    number = int(json.loads(message.body)["seq"])
    return f"k{number % KEYS}", number
