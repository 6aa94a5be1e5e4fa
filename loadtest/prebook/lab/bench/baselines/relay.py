"""Hand-written relay on asyncpg and aio-pika, woken by NOTIFY; rows stay locked until the broker has confirmed them.

As fast as these clients allow: all rows of a batch are published concurrently with few properties, and one UPDATE
marks the batch. Order per key holds only with a single relay and without failures; there are no leases, and a refused
row stops the relay.
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
"""For processes that wake the relay by an event: a NOTIFY in every commit serialises the commits."""
INSERT_MESSAGE = "INSERT INTO baseline.outbox (key, type, payload) VALUES ($1, $2, $3)"
INSERT_BACKLOG = """
    INSERT INTO baseline.outbox (key, type, payload)
    SELECT key, 'requested', payload FROM unnest($1::text[], $2::text[]) AS inserted (key, payload)"""
SELECT_BATCH = """
    SELECT id, type, payload FROM baseline.outbox WHERE sent_at IS NULL ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED"""
MARK_SENT = "UPDATE baseline.outbox SET sent_at = clock_timestamp() WHERE id = ANY($1)"


async def run_relay(dsn: str, amqp_url: str, wakeup: asyncio.Event | None = None) -> None:
    """Send unsent rows until the process is stopped; print ``ready`` once running.

    ``wakeup``: event that a commit in this process sets, in addition to the trigger's NOTIFY.
    """
    connection = await asyncpg.connect(dsn)
    listener = await asyncpg.connect(dsn)
    select_batch = await connection.prepare(SELECT_BATCH)
    mark_sent = await connection.prepare(MARK_SENT)
    channel = await (await aio_pika.connect(amqp_url)).channel()
    wakeup = wakeup or asyncio.Event()
    await listener.add_listener("baseline", lambda *_: wakeup.set())
    print("ready", flush=True)  # noqa: T201 - read by the parent process
    while True:
        wakeup.clear()
        async with connection.transaction():
            rows = await select_batch.fetch(BATCH_SIZE)
            if rows:
                await asyncio.gather(*(channel.default_exchange.publish(to_amqp(row), QUEUE) for row in rows))
                await mark_sent.fetch([row["id"] for row in rows])
        if len(rows) < BATCH_SIZE:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wakeup.wait(), POLL_INTERVAL_S)


def to_amqp(row: asyncpg.Record) -> aio_pika.Message:
    """Return the persistent message of an outbox row."""
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
