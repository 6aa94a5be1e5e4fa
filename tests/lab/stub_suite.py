"""A small suite of our own to point the campaign at: booking, notification, pricing's health, and a supervisor.

It settles every booking at once or after a delay, can be told to stall, and can be told to lose or double things.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from aiohttp import web

from prebook.contracts.booking import BookingRequest, BookingState, DeliveryEntry, DeliveryPage, LedgerEntry, LedgerPage
from prebook.contracts.plan import Coupling
from prebook.lab.suite_client.settings import LabSettings, StackInfo

Rows = list[LedgerEntry]
TOKEN = "stand-in"


def nobody(_key: str) -> bool:
    return False


@dataclass
class StubSuite:
    settle_after_s: float = 0.02
    stall_s: float = 0.0
    """How long each response is held back."""
    lose_row: Callable[[str], bool] = nobody
    leave_untold: Callable[[str], bool] = nobody
    tell_twice: Callable[[str], bool] = nobody
    one_driver: Callable[[str], bool] = nobody
    never_settle: Callable[[str], bool] = nobody
    deaf: bool = False
    """The supervisor says yes and does nothing."""
    url: str = ""
    arrived: list[float] = field(default_factory=list)
    rows: dict[str, LedgerEntry] = field(default_factory=dict)
    told: list[DeliveryEntry] = field(default_factory=list)
    numbers: Counter[str] = field(default_factory=Counter)
    pid: int = 100
    back: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.back.set()

    @property
    def environ(self) -> dict[str, str]:
        urls = {f"PREBOOK_URL_{name}": self.url for name in ("BOOKING", "NOTIFICATION", "PRICING")}
        stack = '{"mode": "stand-in", "broker": "none", "database": "none"}'
        control = {"PREBOOK_CONTROL_PRICING": self.url, "PREBOOK_CONTROL_TOKEN": TOKEN}
        return {**urls, **control, "PREBOOK_STACK_INFO": stack}

    @property
    def settings(self) -> LabSettings:
        urls = dict.fromkeys(("booking", "notification", "pricing"), self.url)
        return LabSettings(urls, StackInfo("stand-in", "none", "none"))

    async def book(self, request: web.Request) -> web.Response:
        self.arrived.append(asyncio.get_running_loop().time())
        wanted = msgspec.json.decode(await request.read(), type=BookingRequest)
        key = request.headers["Idempotency-Key"]
        plan = wanted.couplings or {}
        if not self.back.is_set() and plan["quote_fare"] is Coupling.SYNC_API:
            return web.json_response({"code": "pricing_unavailable"}, status=503, headers={"Retry-After": "1"})
        row = self.open(key, wanted, plan)
        await asyncio.sleep(self.stall_s)
        return web.json_response({"id": row.booking_id}, status=202)

    def open(self, key: str, wanted: BookingRequest, plan: dict[str, Coupling]) -> LedgerEntry:
        self.numbers["booking"] += 1
        row = line(key, f"bk_{self.numbers['booking']:05d}", couplings=plan, slot=wanted.pickup_at)
        if not self.lose_row(key):
            self.rows[key] = row
            task = asyncio.create_task(self.settle(row, wanted))
            self.waiting.add(task)
            task.add_done_callback(self.waiting.discard)
        return row

    async def settle(self, row: LedgerEntry, wanted: BookingRequest) -> None:
        await self.back.wait()
        await asyncio.sleep(self.settle_after_s)
        if self.never_settle(row.idempotency_key):
            return
        self.rows[row.idempotency_key] = confirmed(
            row, driver="d0" if self.one_driver(row.idempotency_key) else f"d-{row.booking_id}"
        )
        times = 0 if self.leave_untold(row.idempotency_key) else 2 if self.tell_twice(row.idempotency_key) else 1
        self.told += [delivery(row.booking_id, deliveries=times)] if times else []

    async def ledger(self, request: web.Request) -> web.Response:
        """Pages of seven at most, so that paging is met."""
        prefix = request.query.get("prefix", "")
        after = request.query.get("after", "")
        keys = sorted(key for key in self.rows if key.startswith(prefix) and key > after)
        page = keys[:7]
        more = len(keys) > 7
        return encoded(LedgerPage(entries=tuple(self.rows[key] for key in page), next=page[-1] if more else None))

    async def deliveries(self, request: web.Request) -> web.Response:
        since = datetime.fromisoformat(request.query["since"])
        start = int(request.query.get("after", 0))
        lines = [told for told in self.told if told.delivered_at >= since]
        page = tuple(lines[start : start + 50])
        return encoded(DeliveryPage(entries=page, next=str(start + 50) if len(lines) > start + 50 else None))

    async def healthy(self, request: web.Request) -> web.Response:
        if not self.back.is_set() and request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def processes(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        return web.json_response([process_info("pricing", self.pid)])

    async def kill(self, request: web.Request) -> web.Response:
        if not self.deaf:
            self.back.clear()
            down_s = (await request.json())["down_s"]
            asyncio.get_running_loop().call_later(down_s, self.restart)
        return web.json_response({"pid": self.pid})

    async def brownout(self, request: web.Request) -> web.Response:
        if not self.deaf:
            self.back.clear()
            asyncio.get_running_loop().call_later((await request.json())["duration_s"], self.back.set)
        return web.json_response({"pid": self.pid})

    def restart(self) -> None:
        self.pid += 1
        self.back.set()

    @property
    def routes(self) -> Mapping[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        return {
            ("POST", "/v1/bookings"): self.book,
            ("GET", "/v1/ledger"): self.ledger,
            ("GET", "/v1/deliveries"): self.deliveries,
            ("GET", "/readyz"): self.healthy,
            ("GET", "/livez"): self.healthy,
            ("GET", "/processes"): self.processes,
            ("POST", "/processes/pricing/kill"): self.kill,
            ("POST", "/processes/pricing/brownout"): self.brownout,
        }


@dataclass
class BusySuite(StubSuite):
    """Refuses everybody so many times."""

    refusals: int = 1
    seen: dict[str, list[float]] = field(default_factory=dict)

    async def book(self, request: web.Request) -> web.Response:
        visits = self.seen.setdefault(request.headers["Idempotency-Key"], [])
        response = await super().book(request)
        visits.append(self.arrived[-1])
        if len(visits) <= self.refusals:
            return web.json_response({"code": "overloaded"}, status=503, headers={"Retry-After": "1"})
        return response


def process_info(name: str, pid: int) -> dict[str, Any]:
    """A running process, as the supervisor's control API lists it."""
    unknown = dict.fromkeys(("started_at", "rss_bytes", "last_status"))
    return {"name": name, "state": "running", "pid": pid, "restarts": 0, **unknown}


def line(key: str, booking_id: str, **changes: Any) -> LedgerEntry:
    """A booking that has just been requested."""
    blank: dict[str, Any] = {
        "state": BookingState.REQUESTED,
        "accepted_at": datetime.now(UTC),
        "couplings": {},
        **dict.fromkeys(("settled_at", "fare_cents", "fleet", "driver", "slot", "reason")),
    }
    return LedgerEntry(**{"idempotency_key": key, "booking_id": booking_id, **blank, **changes})


def confirmed(row: LedgerEntry, *, driver: str, slot: datetime | None = None) -> LedgerEntry:
    ride = row.idempotency_key.rsplit("-", 1)[-1]
    at = slot or (row.slot or datetime.now(UTC)).replace(minute=0)
    fields: dict[str, Any] = {"fare_cents": 1000 + int(ride), "fleet": "north", "driver": driver, "slot": at}
    return msgspec.structs.replace(row, state=BookingState.CONFIRMED, settled_at=datetime.now(UTC), **fields)


def delivery(booking_id: str, *, notice: str = "confirmed", deliveries: int = 1) -> DeliveryEntry:
    now = datetime.now(UTC) + timedelta(milliseconds=1)
    return DeliveryEntry(booking_id=booking_id, notice=notice, delivered_at=now, times_delivered=deliveries)


def encoded(page: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(page), content_type="application/json")


@asynccontextmanager
async def serving(suite: StubSuite) -> AsyncIterator[StubSuite]:
    """Serves the stand-in on a free port of 127.0.0.1 while the body runs."""
    app = web.Application()
    for (method, path), handler in suite.routes.items():
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    suite.url = f"http://{host}:{port}"
    try:
        yield suite
    finally:
        for task in suite.waiting:
            task.cancel()
        await runner.cleanup()
