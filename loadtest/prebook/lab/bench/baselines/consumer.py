"""Hand-written consumer on asyncpg and aio-pika: inbox, effect and outbox in one transaction, then the acknowledgement.

The hand-written relay runs in the same process, woken by an event, and sends the replies. There are no retries, no dead
letters, no validation and no deadlines; a failed message stays unacknowledged.
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
    """Consume requests and relay the replies until the process is stopped."""
    pool = await asyncpg.create_pool(dsn, min_size=PREFETCH, max_size=PREFETCH, reset=_skip_reset)
    channel = await (await aio_pika.connect(amqp_url)).channel()
    await channel.set_qos(PREFETCH)
    wakeup = asyncio.Event()

    async def on_message(message: AbstractIncomingMessage) -> None:
        message_id = str(message.message_id)
        request = json.loads(message.body)
        async with pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(INSERT_INBOX, message_id):
                await connection.execute(INSERT_EFFECT, message_id, request["passengers"])
                reply = json.dumps({"cents": 4200, "currency": "EUR"})
                await connection.execute(relay.INSERT_MESSAGE, message_id, message_id, reply)
        wakeup.set()
        await message.ack()

    await (await channel.get_queue(QUEUE, ensure=False)).consume(on_message)
    await relay.run_relay(dsn, amqp_url, wakeup)


async def _skip_reset(_: Any) -> None:
    """Save the round trip of asyncpg's connection reset; the consumer changes no session state."""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("usage: python -m prebook.lab.bench.baselines.consumer, with BENCH_DSN and BENCH_AMQP_URL set")
    uvloop.run(consume(os.environ["BENCH_DSN"], os.environ["BENCH_AMQP_URL"]))
