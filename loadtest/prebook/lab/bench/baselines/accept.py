"""A booking taken in by hand: asyncpg, one transaction, the rows that ours writes, into the same tables.

The four statements one after the other, as they are usually written, prepared once for each connection. Behind HTTP: a
bare ASGI application that decodes JSON, looks at nothing, and answers what it has stored.
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
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'requested', $12) ON CONFLICT (key) DO NOTHING RETURNING id"""
INSERT_IDEMPOTENCY_RECORD = """
    INSERT INTO idempotency_record (key, booking_id, fingerprint, created_at, status, body)
    VALUES ($1, $2, $3, $4, 202, $5)"""
INSERT_OUTBOX = """
    INSERT INTO outbox (message_id, kind, flow, conversation_id, route, message, not_before, expires_at, ordering_key)
    VALUES ($1, 'request', 'quote_fare', $2, 'broker', $3, now(), $4, $2)"""
INSERT_PENDING_REPLY = """
    INSERT INTO pending_reply (request_id, flow, conversation_id, message, due_at)
    VALUES ($1, 'quote_fare', $2, $3, $4)"""
PLAN = dict.fromkeys(("quote_fare", "find_driver", "ask_fleet", "notify_rider"), "request_reply")
REPLY_TIMEOUT = timedelta(seconds=30)
AcceptBooking = Callable[[str, dict[str, Any], bytes], Awaitable[bytes]]


async def prepare_accept(connection: "asyncpg.Connection[Any]") -> AcceptBooking:
    """Takes a key, a decoded request and its bytes; returns what is answered."""
    book, take, ask, wait = [
        await connection.prepare(statement)
        for statement in (INSERT_BOOKING, INSERT_IDEMPOTENCY_RECORD, INSERT_OUTBOX, INSERT_PENDING_REPLY)
    ]
    await connection.execute("SELECT")  # preparing ends without a sync, and holds its tables' locks until there is one

    async def accept(key: str, request: dict[str, Any], raw: bytes) -> bytes:
        now = datetime.now(UTC)
        ride = f"bk_{uuid.uuid4().hex}"
        plan = json.dumps(PLAN)
        due = now + REPLY_TIMEOUT
        history = json.dumps([{"state": "requested", "at": now.isoformat()}])
        answer = json.dumps({"id": ride, "state": "requested", **request, "couplings": PLAN}).encode()
        message = json.dumps({"headers": _headers(ride, now, due), "body": json.dumps(request)})
        asked = f"{ride}.quote_fare"
        async with connection.transaction():
            if not await book.fetch(ride, key, *_columns(request), plan, history):
                raise LookupError(f"key {key} is taken")
            await take.fetch(key, ride, hashlib.sha256(raw).digest(), now, answer)
            await ask.fetch(asked, ride, message, due)
            await wait.fetch(asked, ride, message, due)
        return answer

    return accept


def _columns(request: dict[str, Any]) -> Sequence[Any]:
    pickup = request["pickup"]
    dropoff = request["dropoff"]
    places = (pickup["lat"], pickup["lon"], dropoff["lat"], dropoff["lon"])
    at = datetime.fromisoformat(request["pickup_at"])
    return (request["rider_id"], *places, at, request["vehicle_class"], request["passengers"])


def _headers(ride: str, now: datetime, due: datetime) -> dict[str, str]:
    """As many bytes as ours, which a relay would need."""
    return {
        "ce-specversion": "1.0",
        "ce-id": f"{ride}.quote_fare",
        "ce-type": "prebook.quote_fare.v1",
        "ce-source": "/prebook/booking",
        "ce-subject": ride,
        "ce-time": now.isoformat(),
        "ce-partitionkey": ride,
        "prebook-kind": "request",
        "prebook-flow": "quote_fare",
        "prebook-plan": ",".join(f"{flow}={coupling}" for flow, coupling in PLAN.items()),
        "prebook-attempt": "1",
        "prebook-reply-to": "booking",
        "prebook-expires-at": due.isoformat(),
        "traceparent": f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01",
    }


@asynccontextmanager
async def open_pool(dsn: str, size: int) -> AsyncIterator["asyncio.Queue[AcceptBooking]"]:
    """Each on a connection of its own; take one, use it, put it back."""
    idle: asyncio.Queue[AcceptBooking] = asyncio.LifoQueue()
    async with AsyncExitStack() as stack:
        for _ in range(size):
            connection = await asyncpg.connect(dsn, server_settings={"search_path": "booking"})
            stack.push_async_callback(connection.close)
            idle.put_nowait(await prepare_accept(connection))
        yield idle


class BaselineApi:
    """ASGI; a connection to the database for each request under way, up to ``most``."""

    def __init__(self, dsn: str, pool_size: int) -> None:
        self._dsn = dsn
        self._pool_size = pool_size
        self._idle: asyncio.Queue[AcceptBooking] = asyncio.LifoQueue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self._run_lifespan(receive, send)
        raw = (await receive())["body"]
        key = dict(scope["headers"]).get(b"idempotency-key", b"").decode()
        status, answer = (202, await self._accept(key, raw)) if raw else (404, b"")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
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
    edge = BaselineApi(os.environ["BENCH_DSN"], int(os.environ["BENCH_MAX_CONNECTIONS"]))
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(edge, port=port, loop="uvloop", http="httptools", access_log=False, log_config=None)
