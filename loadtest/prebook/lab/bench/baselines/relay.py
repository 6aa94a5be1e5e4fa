"""A relay by hand: asyncpg and aio-pika, woken by a trigger's NOTIFY, rows locked while their confirms are awaited.

As fast as these clients are: every row is published at once, with the least properties, and one UPDATE marks the batch.
Order per key holds with one relay and no failures; there is no lease, no second relay, and a refused row stops all.
"""

import asyncio
import contextlib
import os
import sys

import aio_pika
import asyncpg
import uvloop

QUEUE = "baseline.relay"
BATCH_SIZE = 500
POLL_INTERVAL_S = 1.0
SCHEMA = """
    DROP SCHEMA IF EXISTS baseline CASCADE;
    CREATE SCHEMA baseline;
    CREATE TABLE baseline.booking (id text PRIMARY KEY, rider text NOT NULL, details text NOT NULL);
    CREATE TABLE baseline.outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key text NOT NULL, type text NOT NULL, payload text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(), sent_at timestamptz);
    CREATE INDEX outbox_unsent ON baseline.outbox (id) WHERE sent_at IS NULL;
    CREATE FUNCTION baseline.wake() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('baseline', ''); RETURN NULL; END $$;
    CREATE TRIGGER wake AFTER INSERT ON baseline.outbox FOR EACH STATEMENT EXECUTE FUNCTION baseline.wake()"""
DROP_TRIGGER = "DROP TRIGGER wake ON baseline.outbox"
"""Where the process that commits wakes the relay itself: a NOTIFY in every commit is dear."""
INSERT_MESSAGE = "INSERT INTO baseline.outbox (key, type, payload) VALUES ($1, $2, $3)"
INSERT_BACKLOG = """
    INSERT INTO baseline.outbox (key, type, payload)
    SELECT key, 'asked', payload FROM unnest($1::text[], $2::text[]) AS staged (key, payload)"""
SELECT_BATCH = """
    SELECT id, type, payload FROM baseline.outbox WHERE sent_at IS NULL ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED"""
MARK_SENT = "UPDATE baseline.outbox SET sent_at = clock_timestamp() WHERE id = ANY($1)"


async def run_relay(dsn: str, amqp_url: str, wakeup: asyncio.Event | None = None) -> None:
    """``wakeup``: set by whoever commits in this process, beside the trigger's NOTIFY."""
    connection = await asyncpg.connect(dsn)
    listener = await asyncpg.connect(dsn)
    claim = await connection.prepare(SELECT_BATCH)
    sent = await connection.prepare(MARK_SENT)
    channel = await (await aio_pika.connect(amqp_url)).channel()
    wakeup = wakeup or asyncio.Event()
    await listener.add_listener("baseline", lambda *_: wakeup.set())
    print("ready", flush=True)  # noqa: T201 - for the process that started us
    while True:
        wakeup.clear()
        async with connection.transaction():
            rows = await claim.fetch(BATCH_SIZE)
            if rows:
                await asyncio.gather(*(channel.default_exchange.publish(to_amqp(row), QUEUE) for row in rows))
                await sent.fetch([row["id"] for row in rows])
        if len(rows) < BATCH_SIZE:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wakeup.wait(), POLL_INTERVAL_S)


def to_amqp(row: asyncpg.Record) -> aio_pika.Message:
    return aio_pika.Message(
        row["payload"].encode(),
        message_id=str(row["id"]),
        type=row["type"],
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("usage: python -m prebook.lab.bench.baselines.relay, with BENCH_DSN and BENCH_AMQP_URL set")
    uvloop.run(run_relay(os.environ["BENCH_DSN"], os.environ["BENCH_AMQP_URL"]))
