"""A stub suite for the lab's tests: booking, notification, pricing's health endpoints, and a supervisor.

It settles every booking at once or after a delay, and can be configured to stall, to lose rows and notices, and
to duplicate notices.
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

from prebook.contracts.auctions import AuctionEntry, AuctionPage
from prebook.contracts.booking import BookingRequest, DeliveryEntry, DeliveryPage, LedgerEntry, LedgerPage
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from prebook.lab.suite_client.settings import LabSettings, StackInfo, SuiteAddresses

TOKEN = "stub"


def never(_key: str) -> bool:
    return False


@dataclass
class StubSuite:
    """State and HTTP handlers of the stub; the callables get an idempotency key and select the affected bookings."""

    settle_after_s: float = 0.02
    stall_s: float = 0.0
    """Seconds by which each response to a booking request is delayed."""
    lose_row: Callable[[str], bool] = never
    skip_notification: Callable[[str], bool] = never
    notify_twice: Callable[[str], bool] = never
    share_driver: Callable[[str], bool] = never
    never_settle: Callable[[str], bool] = never
    expire: Callable[[str], bool] = never
    """The deadline of the request for a fare ends these, and their riders are notified of that."""
    has_matching: bool = True
    """Whether the address of matching, which lists the auctions, is known."""
    supervised: tuple[str, ...] = ("pricing", "booking")
    """Services with a supervisor."""
    back_pressure: list[bool | None] = field(default_factory=list)
    """Positions to which booking's back pressure was switched, in order."""
    ignore_commands: bool = False
    """Whether the supervisor accepts commands and ignores them."""
    url: str = ""
    arrived: list[float] = field(default_factory=list)
    rows: dict[str, LedgerEntry] = field(default_factory=dict)
    delivered: list[DeliveryEntry] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    pid: int = 100
    pricing_up: asyncio.Event = field(default_factory=asyncio.Event)
    settling: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.pricing_up.set()

    @property
    def environ(self) -> dict[str, str]:
        names = map(str.upper, self.services)
        urls = {f"PREBOOK_{kind}_{name}": self.url for name in names for kind in ("URL", "INTERNAL_URL")}
        stack = '{"mode": "stub", "broker": "none", "database": "none"}'
        control = {f"PREBOOK_CONTROL_{name.upper()}": self.url for name in self.supervised}
        return {**urls, **control, "PREBOOK_CONTROL_TOKEN": TOKEN, "PREBOOK_STACK_INFO": stack}

    @property
    def services(self) -> tuple[str, ...]:
        return ("booking", "notification", "pricing", *(["matching"] if self.has_matching else []))

    @property
    def settings(self) -> LabSettings:
        urls = dict.fromkeys(self.services, self.url)
        return LabSettings(SuiteAddresses(urls, urls), StackInfo("stub", "none", "none"))

    async def book(self, request: web.Request) -> web.Response:
        self.arrived.append(asyncio.get_running_loop().time())
        booking = msgspec.json.decode(await request.read(), type=BookingRequest)
        key = request.headers["Idempotency-Key"]
        plan = booking.couplings or {}
        if not self.pricing_up.is_set() and plan["quote_fare"] is Coupling.SYNC_API:
            return web.json_response({"code": "pricing_unavailable"}, status=503, headers={"Retry-After": "1"})
        row = self.open(key, booking, plan)
        await asyncio.sleep(self.stall_s)
        return web.json_response({"id": row.booking_id}, status=202)

    def open(self, key: str, booking: BookingRequest, plan: dict[str, Coupling]) -> LedgerEntry:
        self.counters["booking"] += 1
        row = requested_row(key, f"bk_{self.counters['booking']:05d}", couplings=plan, slot=booking.pickup_at)
        if not self.lose_row(key):
            self.rows[key] = row
            task = asyncio.create_task(self.settle(row, booking))
            self.settling.add(task)
            task.add_done_callback(self.settling.discard)
        return row

    async def settle(self, row: LedgerEntry, booking: BookingRequest) -> None:
        await self.pricing_up.wait()
        await asyncio.sleep(self.settle_after_s)
        if self.never_settle(row.idempotency_key):
            return
        if self.expire(row.idempotency_key):
            ended = {"state": BookingState.EXPIRED, "settled_at": datetime.now(UTC), "reason": "no fare: deadline"}
            self.rows[row.idempotency_key] = msgspec.structs.replace(row, **ended)
            self.delivered.append(delivery(row.booking_id, notice=BookingState.EXPIRED))
            return
        self.rows[row.idempotency_key] = confirmed_row(
            row, driver="d0" if self.share_driver(row.idempotency_key) else f"d-{row.booking_id}"
        )
        times = 0 if self.skip_notification(row.idempotency_key) else 2 if self.notify_twice(row.idempotency_key) else 1
        self.delivered += [delivery(row.booking_id, deliveries=times)] if times else []

    async def ledger(self, request: web.Request) -> web.Response:
        """Return pages of at most seven rows, so that tests exercise paging."""
        prefix = request.query.get("prefix", "")
        after = request.query.get("after", "")
        keys = sorted(key for key in self.rows if key.startswith(prefix) and key > after)
        page = keys[:7]
        more = len(keys) > 7
        return json_response(LedgerPage(entries=tuple(self.rows[key] for key in page), next=page[-1] if more else None))

    async def auctions(self, request: web.Request) -> web.Response:
        """Return pages of at most seven auctions: two offers are used, and the third fleet replies twice, too late."""
        after = request.query.get("after", "")
        ids = sorted(row.booking_id for row in self.rows.values() if row.booking_id > after)
        verdicts = {"ada": ("used",), "borealis": ("used",), "cargo": ("late", "duplicate")}
        entries = [AuctionEntry(booking_id=each, completed_by="enough", verdicts=verdicts) for each in ids[:7]]
        return json_response(AuctionPage(entries=tuple(entries), next=ids[6] if len(ids) > 7 else None))

    async def deliveries(self, request: web.Request) -> web.Response:
        since = datetime.fromisoformat(request.query["since"])
        start = int(request.query.get("after", 0))
        entries = [entry for entry in self.delivered if entry.delivered_at >= since]
        page = tuple(entries[start : start + 50])
        return json_response(DeliveryPage(entries=page, next=str(start + 50) if len(entries) > start + 50 else None))

    async def healthy(self, request: web.Request) -> web.Response:
        if not self.pricing_up.is_set() and request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def processes(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        return web.json_response([process_info(name, self.pid) for name in self.supervised])

    async def kill(self, request: web.Request) -> web.Response:
        if not self.ignore_commands:
            self.pricing_up.clear()
            down_s = (await request.json())["down_s"]
            asyncio.get_running_loop().call_later(down_s, self.restart)
        return web.json_response({"pid": self.pid})

    async def brownout(self, request: web.Request) -> web.Response:
        if not self.ignore_commands:
            self.pricing_up.clear()
            asyncio.get_running_loop().call_later((await request.json())["duration_s"], self.pricing_up.set)
        return web.json_response({"pid": self.pid})

    async def switch_back_pressure(self, request: web.Request) -> web.Response:
        self.back_pressure.append((await request.json())["enabled"])
        return web.json_response({"enabled": self.back_pressure[-1], "configured": True})

    def restart(self) -> None:
        self.pid += 1
        self.pricing_up.set()

    @property
    def routes(self) -> Mapping[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        return {
            ("POST", "/v1/bookings"): self.book,
            ("GET", "/v1/ledger"): self.ledger,
            ("GET", "/v1/deliveries"): self.deliveries,
            ("GET", "/v1/ledger/auctions"): self.auctions,
            ("GET", "/readyz"): self.healthy,
            ("GET", "/livez"): self.healthy,
            ("GET", "/processes"): self.processes,
            ("POST", "/processes/pricing/kill"): self.kill,
            ("POST", "/processes/pricing/brownout"): self.brownout,
            ("PUT", "/v1/back-pressure"): self.switch_back_pressure,
        }


@dataclass
class BusySuite(StubSuite):
    """A stub that refuses each rider's first ``refusals`` requests."""

    refusals: int = 1
    attempts_by_key: dict[str, list[float]] = field(default_factory=dict)

    async def book(self, request: web.Request) -> web.Response:
        attempts = self.attempts_by_key.setdefault(request.headers["Idempotency-Key"], [])
        response = await super().book(request)
        attempts.append(self.arrived[-1])
        if len(attempts) <= self.refusals:
            return web.json_response({"code": "overloaded"}, status=503, headers={"Retry-After": "1"})
        return response


def process_info(name: str, pid: int) -> dict[str, Any]:
    """Return a running process as the supervisor's control API lists it."""
    unknown = dict.fromkeys(("started_at", "rss_bytes", "last_status"))
    return {"name": name, "state": "running", "pid": pid, "restarts": 0, **unknown}


def requested_row(key: str, booking_id: str, **changes: Any) -> LedgerEntry:
    """Return the ledger row of a booking that has just been requested, with ``changes``."""
    defaults: dict[str, Any] = {
        "state": BookingState.REQUESTED,
        "accepted_at": datetime.now(UTC),
        "couplings": {},
        **dict.fromkeys(("settled_at", "fare_cents", "fleet", "driver", "slot", "reason")),
    }
    return LedgerEntry(**{"idempotency_key": key, "booking_id": booking_id, **defaults, **changes})


def confirmed_row(row: LedgerEntry, *, driver: str, slot: datetime | None = None) -> LedgerEntry:
    ride = row.idempotency_key.rsplit("-", 1)[-1]
    pickup_slot = slot or (row.slot or datetime.now(UTC)).replace(minute=0)
    fields: dict[str, Any] = {"fare_cents": 1000 + int(ride), "fleet": "north", "driver": driver, "slot": pickup_slot}
    return msgspec.structs.replace(row, state=BookingState.CONFIRMED, settled_at=datetime.now(UTC), **fields)


def delivery(booking_id: str, *, notice: str = "confirmed", deliveries: int = 1) -> DeliveryEntry:
    delivered_at = datetime.now(UTC) + timedelta(milliseconds=1)
    return DeliveryEntry(booking_id=booking_id, notice=notice, delivered_at=delivered_at, times_delivered=deliveries)


def json_response(page: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(page), content_type="application/json")


@asynccontextmanager
async def serve_stub(suite: StubSuite) -> AsyncIterator[StubSuite]:
    """Serve the stub on a free port of 127.0.0.1 while the block runs."""
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
        for task in suite.settling:
            task.cancel()
        await runner.cleanup()
