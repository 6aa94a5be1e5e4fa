"""A consumer by hand: asyncpg and aio-pika; inbox, effect and outbox in one transaction, then the acknowledgement.

Beside it, in the same process and woken there, the relay by hand takes the answers to the broker. There is no
retry, no parking, no check of what came, no expected answer; what fails stays where it is.
"""

import asyncio
import json
import os
import sys
from typing import Any

import aio_pika
import asyncpg
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from prebook.lab.bench.baselines import relay

QUEUE = "baseline.requests"
PREFETCH = 16
SCHEMA = """
    CREATE TABLE baseline.inbox (message_id text PRIMARY KEY, received_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE baseline.effect (message_id text PRIMARY KEY, distance int NOT NULL)"""
INSERT_INBOX = "INSERT INTO baseline.inbox (message_id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING 1"
INSERT_EFFECT = "INSERT INTO baseline.effect (message_id, distance) VALUES ($1, $2)"


async def consume(dsn: str, amqp_url: str) -> None:
    pool = await asyncpg.create_pool(dsn, min_size=PREFETCH, max_size=PREFETCH, reset=_skip_reset)
    channel = await (await aio_pika.connect(amqp_url)).channel()
    await channel.set_qos(PREFETCH)
    woken = asyncio.Event()

    async def take(message: AbstractIncomingMessage) -> None:
        asked = str(message.message_id)
        said = json.loads(message.body)
        async with pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(INSERT_INBOX, asked):
                await connection.execute(INSERT_EFFECT, asked, said["passengers"])
                await connection.execute(
                    relay.INSERT_MESSAGE, asked, asked, json.dumps({"cents": 4200, "currency": "EUR"})
                )
        woken.set()
        await message.ack()

    await (await channel.get_queue(QUEUE, ensure=False)).consume(take)
    await relay.run_relay(dsn, amqp_url, woken)


async def _skip_reset(_: Any) -> None:
    """A round trip less: nothing was set that would have to be reset."""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("usage: python -m prebook.lab.bench.baselines.consumer, with BENCH_DSN and BENCH_AMQP_URL set")
    uvloop.run(consume(os.environ["BENCH_DSN"], os.environ["BENCH_AMQP_URL"]))
