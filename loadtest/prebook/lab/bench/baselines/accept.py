"""Hand-written acceptance of a booking: the suite's rows in its tables, by asyncpg, in one transaction.

Four prepared statements, executed one after the other. The HTTP side is a bare ASGI application that decodes JSON,
validates nothing and returns the stored response.
"""

import asyncio
import hashlib
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import uvicorn

INSERT_BOOKING = """
    INSERT INTO booking (id, key, rider_id, pickup_lat, pickup_lon, dropoff_lat, dropoff_lon, pickup_at, vehicle_class,
        passengers, plan, state, history)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'requested', $12) ON CONFLICT DO NOTHING RETURNING id"""
INSERT_IDEMPOTENCY_RECORD = """
    INSERT INTO idempotency_record (key, rider_id, booking_id, fingerprint, created_at, status, body)
    VALUES ($1, $2, $3, $4, $5, 202, $6)"""
INSERT_OUTBOX = """
    INSERT INTO outbox (message_id, kind, flow, conversation_id, route, message, not_before, expires_at, ordering_key)
    VALUES ($1, 'request', 'quote_fare', $2, 'broker', $3, now(), $4, $2)"""
INSERT_PENDING_REPLY = """
    INSERT INTO pending_reply (request_id, flow, conversation_id, message, due_at)
    VALUES ($1, 'quote_fare', $2, $3, $4)"""
PLAN = dict.fromkeys(("quote_fare", "find_driver", "ask_fleet", "notify_rider"), "request_reply")
REPLY_TIMEOUT = timedelta(seconds=30)
AcceptBooking = Callable[[str, dict[str, Any], bytes], Awaitable[bytes]]
"""Accepts a booking by idempotency key, decoded request and raw request; returns the response body."""


async def prepare_accept(connection: "asyncpg.Connection[Any]") -> AcceptBooking:
    """Prepare the statements on ``connection`` and return a function that accepts a booking with them."""
    insert_booking, insert_record, insert_outbox, insert_pending_reply = [
        await connection.prepare(statement)
        for statement in (INSERT_BOOKING, INSERT_IDEMPOTENCY_RECORD, INSERT_OUTBOX, INSERT_PENDING_REPLY)
    ]
    await connection.execute("SELECT")  # asyncpg prepares without a Sync, and table locks last until the next one

    async def accept(key: str, request: dict[str, Any], raw: bytes) -> bytes:
        now = datetime.now(UTC)
        booking_id = f"bk_{uuid.uuid4().hex}"
        plan = json.dumps(PLAN)
        due_at = now + REPLY_TIMEOUT
        history = json.dumps([{"state": "requested", "at": now.isoformat()}])
        response = json.dumps({"id": booking_id, "state": "requested", **request, "couplings": PLAN}).encode()
        message = json.dumps({"headers": _headers(booking_id, now, due_at), "body": json.dumps(request)})
        request_id = f"{booking_id}.quote_fare"
        async with connection.transaction():
            if not await insert_booking.fetch(booking_id, key, *_columns(request), plan, history):
                raise LookupError(f"key {key} is taken")
            await insert_record.fetch(key, request["rider_id"], booking_id, hashlib.sha256(raw).digest(), now, response)
            await insert_outbox.fetch(request_id, booking_id, message, due_at)
            await insert_pending_reply.fetch(request_id, booking_id, message, due_at)
        return response

    return accept


def _columns(request: dict[str, Any]) -> Sequence[Any]:
    pickup = request["pickup"]
    dropoff = request["dropoff"]
    places = (pickup["lat"], pickup["lon"], dropoff["lat"], dropoff["lon"])
    pickup_at = datetime.fromisoformat(request["pickup_at"])
    return (request["rider_id"], *places, pickup_at, request["vehicle_class"], request["passengers"])


def _headers(booking_id: str, now: datetime, due_at: datetime) -> dict[str, str]:
    """Return message headers of the same size as the suite's."""
    return {
        "ce-specversion": "1.0",
        "ce-id": f"{booking_id}.quote_fare",
        "ce-type": "prebook.quote_fare.v1",
        "ce-source": "/prebook/booking",
        "ce-subject": booking_id,
        "ce-time": now.isoformat(),
        "ce-partitionkey": booking_id,
        "prebook-kind": "request",
        "prebook-flow": "quote_fare",
        "prebook-plan": ",".join(f"{flow}={coupling}" for flow, coupling in PLAN.items()),
        "prebook-attempt": "1",
        "prebook-reply-to": "booking",
        "prebook-expires-at": due_at.isoformat(),
        "traceparent": f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01",
    }


@asynccontextmanager
async def open_pool(dsn: str, size: int) -> AsyncIterator["asyncio.Queue[AcceptBooking]"]:
    """Open ``size`` connections until the block ends; yield a queue of accept functions, one per connection.

    A caller gets one from the queue, uses it and puts it back.
    """
    idle: asyncio.Queue[AcceptBooking] = asyncio.LifoQueue()
    async with AsyncExitStack() as stack:
        for _ in range(size):
            connection = await asyncpg.connect(dsn, server_settings={"search_path": "booking"})
            stack.push_async_callback(connection.close)
            idle.put_nowait(await prepare_accept(connection))
        yield idle


class BaselineApi:
    """ASGI application that accepts bookings, each request on a database connection from a pool."""

    def __init__(self, dsn: str, pool_size: int) -> None:
        self._dsn = dsn
        self._pool_size = pool_size
        self._idle: asyncio.Queue[AcceptBooking] = asyncio.LifoQueue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self._run_lifespan(receive, send)
        raw = (await receive())["body"]
        key = dict(scope["headers"]).get(b"idempotency-key", b"").decode()
        status, body = (202, await self._accept(key, raw)) if raw else (404, b"")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return None

    async def _accept(self, key: str, raw: bytes) -> bytes:
        accept = await self._idle.get()
        try:
            return await accept(key, json.loads(raw), raw)
        finally:
            self._idle.put_nowait(accept)

    async def _run_lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        async with open_pool(self._dsn, self._pool_size) as self._idle:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(
            "usage: python -m prebook.lab.bench.baselines.accept, "
            "with BENCH_DSN, BENCH_MAX_CONNECTIONS and BENCH_PORT set"
        )
    api = BaselineApi(os.environ["BENCH_DSN"], int(os.environ["BENCH_MAX_CONNECTIONS"]))
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(api, port=port, loop="uvloop", http="httptools", access_log=False, log_config=None)
