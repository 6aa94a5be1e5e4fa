"""Riders that book without pause while a test restarts processes, and what became of their rides."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from uuid import uuid4

import httpx
import psutil

from prebook.contracts.plan import Coupling, Plan
from prebook.contracts.ride import BookingState
from prebook.flows import ASK_FLEET, FIND_DRIVER
from tests.conditions import poll_until
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe
from tests.integration.rider_client import RiderClient, encode_plan, uniform_plan
from tests.world import ride

RIDERS = 3
"""Riders at a time: few enough for two cores that restart processes at the same time."""
CANCEL_EVERY = 3
ATTEMPTS = 120
CANCEL_TIMEOUT_S = 120.0
PAUSE_S = 0.3
MESSAGING_COUPLINGS = (Coupling.ONE_WAY, Coupling.REQUEST_REPLY, Coupling.ASYNC_API)
"""Couplings whose requests wait for a provider that restarts."""
HELD_CALL: Plan = {
    **uniform_plan(Coupling.REQUEST_REPLY),
    FIND_DRIVER.name: Coupling.SYNC_API,
    ASK_FLEET.name: Coupling.REQUEST_REPLY,
}
"""A call for a driver waits at one replica of matching, while replies of the fleets reach any of them."""
PLANS: Mapping[str, Plan] = {
    **{coupling.value: uniform_plan(coupling) for coupling in MESSAGING_COUPLINGS},
    "held_call": HELD_CALL,
    "sync_api": uniform_plan(Coupling.SYNC_API),
}
WAITING_PLANS = tuple(coupling.value for coupling in MESSAGING_COUPLINGS)
CALL_ENDS = {"confirmed", "failed", "rejected"}
"""Ends of rides whose calls no message repeats: a call that meets a restart fails, or finds no driver."""
NOTICES = "SELECT booking_id, notice FROM notification.delivery WHERE booking_id = ANY($1) ORDER BY delivered_at"
BLOCKED = "SELECT (SELECT count(*) FROM notification.blocked) + (SELECT count(*) FROM booking.blocked)"
DOUBLED_KEYS = "SELECT count(*) - count(DISTINCT key) FROM booking.booking WHERE key = ANY($1)"


@dataclass
class SteadyLoad:
    """Books rides under all plans at any replica of booking, and cancels some of those that are confirmed."""

    clients: Sequence[RiderClient]
    """One client for each replica of booking."""
    keys: list[str] = field(default_factory=list)
    ids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Accepted bookings by plan."""
    cancelled: set[str] = field(default_factory=set)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: "count[int]" = field(default_factory=count)

    @property
    def all_ids(self) -> list[str]:
        return [booking_id for ids in self.ids.values() for booking_id in ids]

    async def run(self) -> None:
        """Book until ``stopped`` is set; a ride that has begun is accepted before the load ends."""
        await asyncio.gather(*(self._ride_on() for _ in range(RIDERS)))

    async def _ride_on(self) -> None:
        while not self.stopped.is_set():
            number = next(self._numbers)
            label = list(PLANS)[number % len(PLANS)]
            booking_id = await self._book(number, PLANS[label])
            self.ids[label].append(booking_id)
            if label in WAITING_PLANS and number % CANCEL_EVERY == 0:
                await self._cancel(number, booking_id)
            await asyncio.sleep(PAUSE_S)

    async def _book(self, number: int, plan: Plan) -> str:
        """Book with one key until a replica accepts: the next one is asked after a refusal or a lost connection."""
        key = uuid4().hex
        self.keys.append(key)
        body = {**ride(), "couplings": encode_plan(plan)}
        for attempt in range(ATTEMPTS):
            client = self.clients[(number + attempt) % len(self.clients)]
            try:
                response = await client.http.post("/v1/bookings", json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                await asyncio.sleep(PAUSE_S)
                continue
            if response.is_success:
                booking_id: str = response.json()["id"]
                return booking_id
            assert response.status_code in {409, 503}, response.text  # the first request is in progress, or refused
            await asyncio.sleep(PAUSE_S)
        raise AssertionError(f"no replica of booking accepted a ride in {ATTEMPTS} attempts")

    async def _cancel(self, number: int, booking_id: str) -> None:
        async def is_cancelled() -> bool:
            client = self.clients[number % len(self.clients)]
            try:
                if (await client.fetch_view(booking_id)).state is not BookingState.CONFIRMED:
                    return False
                return (await client.cancel(booking_id)).is_success
            except (httpx.TransportError, AssertionError):
                return False

        await poll_until(is_cancelled, CANCEL_TIMEOUT_S, PAUSE_S)
        self.cancelled.add(booking_id)


@asynccontextmanager
async def steady_load(control: ControlClient) -> AsyncIterator[SteadyLoad]:
    """Book during the block at every replica of booking; the load has ended after it."""
    urls = [await _public_url(control, name) for name in await control.list_processes() if name.startswith("booking")]
    clients = [httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) for url in urls]
    load = SteadyLoad([RiderClient(client) for client in clients])
    running = asyncio.create_task(load.run())
    try:
        yield load
        load.stopped.set()
        await running
    finally:
        running.cancel()
        await asyncio.wait({running})
        for client in clients:
            await client.aclose()


async def verify_rides(load: SteadyLoad, database: DatabaseProbe) -> None:
    """Check that no ride is lost, doubled or misordered; only calls without a message may have failed."""
    states = await database.verify_bookings(load.all_ids)
    for label in WAITING_PLANS:
        expected = {each: "cancelled" if each in load.cancelled else "confirmed" for each in load.ids[label]}
        assert {each: states[each] for each in load.ids[label]} == expected, label
    ends = Counter(states[each] for label in ("held_call", "sync_api") for each in load.ids[label])
    assert ends.keys() <= CALL_ENDS, ends
    assert ends["confirmed"] > sum(ends.values()) / 2, ends
    assert await database.fetch_value(DOUBLED_KEYS, load.keys) == 0
    notices: dict[str, list[str]] = defaultdict(list)
    for row in await database.connection.fetch(NOTICES, load.all_ids):
        notices[row["booking_id"]].append(row["notice"])
    assert {each: notices[each] for each in load.cancelled} == {
        each: ["confirmed", "cancelled"] for each in load.cancelled
    }
    assert await database.fetch_value(BLOCKED) == 0


async def _public_url(control: ControlClient, name: str) -> str:
    """Return the base URL of a process's public listener: the one without metrics."""
    process = psutil.Process(await control.read_pid(name))
    ports = {each.laddr.port for each in process.net_connections() if each.status == "LISTEN"}
    async with httpx.AsyncClient(trust_env=False) as http:
        pages = {port: await http.get(f"http://127.0.0.1:{port}/metrics") for port in ports}
    (public,) = (port for port, page in pages.items() if not page.is_success)
    return f"http://127.0.0.1:{public}"
