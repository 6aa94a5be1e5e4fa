"""All services in one process: real code and real HTTP stack, over a database, a broker and a network in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import uuid4

import httpx
import msgspec
from litestar import Litestar

from prebook.booking.app import SERVICE as BOOKING
from prebook.contracts.booking import BookingView
from prebook.contracts.plan import Coupling, Plan
from prebook.coupling.channels import Transports, build_channels
from prebook.coupling.inbound import InboundGateway
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.fleets.app import SERVICE as FLEETS
from prebook.flows import ALL_FLOWS, EVENT_PARTITIONS, EVENT_TYPES, FLOWS, SERVICES
from prebook.http.app import create_app
from prebook.http.inbound import inbound_routes
from prebook.matching.app import SERVICE as MATCHING
from prebook.messaging import addresses
from prebook.messaging.codec import decode, encode
from prebook.messaging.deadlines import Deadlines, ReplyPoller
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.envelope import Envelope
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.policy import FlowPolicy
from prebook.messaging.recoverability.decision import decide
from prebook.notification.app import SERVICE as NOTIFICATION
from prebook.patterns.retry import Retry
from prebook.pricing.app import SERVICE as PRICING
from prebook.rabbit.consumed_queues import prefetch_by_queue
from prebook.runtime.service import Service, ServiceContext
from prebook.runtime.settings import ServiceSettings
from tests.booking.memory import MemoryBooking
from tests.fleets.memory import MemoryFleets
from tests.matching.memory import MemoryMatching
from tests.memory import MemoryBroker, MemoryDatabase, MemoryHttp
from tests.notification.memory import MemoryNotification
from tests.pricing.memory import MemoryPricing

STATES: Mapping[str, Callable[[], Any]] = {
    "booking": MemoryBooking,
    "pricing": MemoryPricing,
    "matching": MemoryMatching,
    "notification": MemoryNotification,
    "fleets": MemoryFleets,
}
SERVICE_DEFINITIONS: Mapping[str, Service[Any]] = {
    s.name: s for s in (BOOKING, PRICING, MATCHING, NOTIFICATION, FLEETS)
}
SECRETS = ("a secret of tests",)


def settings(**changes: Any) -> ServiceSettings:
    urls = {f"url_{name}": f"http://{name}" for name in SERVICES}
    given = {"database_url": "postgresql+asyncpg://none", "amqp_url": "amqp://none", "couplings": "none", **urls}
    return ServiceSettings(callback_secrets=SECRETS, allow_plan_override=True, **{**given, **changes})


def policies(**changes: Any) -> dict[str, FlowPolicy]:
    return {name: FlowPolicy(coupling=Coupling.ONE_WAY, **changes) for name in FLOWS}


def bindings() -> dict[tuple[str, str], set[str]]:
    """What the topology declares, as far as a broker of dictionaries needs it."""
    bound: dict[tuple[str, str], set[str]] = {}
    for flow in ALL_FLOWS:
        asked, requests = (
            name(flow.provider, flow.name) for name in (addresses.one_way_request_queue, addresses.request_queue)
        )
        bound[addresses.REQUESTS, flow.name] = {_first_partition(requests, flow.partitions)}
        bound[addresses.EVENTS, addresses.request_routing_key(flow.name)] = {_first_partition(asked, flow.partitions)}
        bound[addresses.EVENTS, addresses.reply_routing_key(flow.name)] = {addresses.one_way_reply_queue(flow.caller)}
        bound[addresses.REPLIES, flow.caller] = {addresses.reply_queue(flow.caller)}
    for told in EVENT_TYPES:
        queues = {
            _first_partition(addresses.event_queue(name), EVENT_PARTITIONS.get(name, 0)) for name in told.subscribers
        }
        bound[addresses.EVENTS, addresses.event_routing_key(told.name)] = queues | {"archive"}
    return bound


def _first_partition(address: str, partitions: int) -> str:
    """One partition is as good as several where each queue has one consumer that takes one at a time."""
    return addresses.partition_queue(address, 0) if partitions else address


@dataclass
class CountingObserver(NullObserver):
    """Counts what the suite reports, by service and event."""

    duplicates: int = 0
    handled_flows: list[str] = field(default_factory=list)

    def on_duplicate(self, envelope: Any) -> None:
        del envelope
        self.duplicates += 1

    def on_handled(self, envelope: Any, seconds: float) -> None:
        del seconds
        self.handled_flows.append(envelope.flow)


class World:
    """``down`` is the set of services that neither answer, nor consume, nor relay."""

    def __init__(self, *, copies: int = 1, deadline_s: float = 20.0, **setting: Any) -> None:
        self.down: set[str] = set()
        self.broker, self.observer = MemoryBroker(bindings(), copies), CountingObserver()
        self.db = {name: MemoryDatabase(STATES[name]()) for name in SERVICES}
        self.policies, self.settings = policies(deadline_s=deadline_s), settings(**setting)
        self.waiters = {name: ReplyWaiters() for name in SERVICES}
        apps: dict[str, Litestar] = {}
        self.http = MemoryHttp(apps, self.down)
        self.endpoints: dict[str, Endpoint[Any]] = {}
        self.relays: dict[str, Relay] = {}
        self._jobs: list[Callable[[], Any]] = []
        for name in SERVICES:
            apps[name] = self._assemble(name)
        self.http.connect()

    def _assemble(self, name: str) -> Litestar:
        service, waiters, database = SERVICE_DEFINITIONS[name], self.waiters[name], self.db[name]
        routes = build_channels(Transports(self.http, self.broker, self.policies, waiters, SECRETS))
        endpoint: Endpoint[Any] = Endpoint(
            name,
            service.handlers(self.settings),
            database.begin,
            routes,
            self.policies,
            observer=self.observer,
        )
        way_in = InboundGateway(endpoint, waiters)

        async def send(row: Any) -> None:
            await self._wait_until_up(name)
            await way_in.dispatch(row)

        self.endpoints[name], self.relays[name] = endpoint, Relay(database, send, self.observer)
        database.hand_off = self.relays[name].hand_off
        self._jobs += [
            self.relays[name].run,
            Deadlines(database, endpoint).run,
            ReplyPoller(database, endpoint, routes).run,
            *(lambda q=queue: self._consume(name, q, way_in) for queue in prefetch_by_queue(name, self.policies)),
        ]
        running = ServiceContext(endpoint, database.begin, self.settings, self.policies)
        own = service.api(running) if service.api else []
        return create_app(
            name,
            [*own, *inbound_routes(name, way_in, self.policies, SECRETS)],
            missing_dependencies=_report_ready,
            refresh_gauges=_do_nothing,
            lifespan=_no_lifespan,
        )

    async def _wait_until_up(self, name: str) -> None:
        while name in self.down:
            await asyncio.sleep(0.005)

    async def _consume(self, name: str, queue: str, way_in: InboundGateway) -> None:
        waiting = self.broker.queues[queue]
        while True:
            await self._wait_until_up(name)
            if waiting:
                await self._consume_one(queue, decode(waiting.popleft()), way_in)
            else:
                await self.broker.wait_for_message(queue)

    async def _consume_one(self, queue: str, envelope: Envelope, way_in: InboundGateway) -> None:
        """Failures are decided as the real consumer does, without its pauses."""
        try:
            await way_in.receive(envelope)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            decision = decide(envelope, error, self.policies)
            kept = self.broker.queues[queue] if isinstance(decision, Retry) else self.broker.queues["parked"]
            kept.append(encode(envelope.next_attempt()))

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(job()) for job in self._jobs]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.http.close()

    async def post_booking(self, plan: Plan, *, key: str = "", **changes: Any) -> httpx.Response:
        """POST /v1/bookings as a rider would."""
        headers = {"Idempotency-Key": key or uuid4().hex}
        body = {**ride(), "couplings": {name: coupling.value for name, coupling in plan.items()}, **changes}
        return await self.http.client("booking").post("/v1/bookings", json=body, headers=headers)

    async def book(self, plan: Plan, **changes: Any) -> str:
        """The id of a booking that was accepted."""
        response = await self.post_booking(plan, **changes)
        assert response.status_code in (201, 202), response.text
        booking_id: str = response.json()["id"]
        return booking_id

    async def fetch_view(self, booking_id: str) -> BookingView:
        response = await self.http.client("booking").get(f"/v1/bookings/{booking_id}")
        return _view(response.content)

    async def wait_until_settled(self, booking_id: str, *, timeout_s: float = 5.0) -> BookingView:
        """The booking once it is settled and its rider knows."""
        return await self.wait_until(
            booking_id, lambda view: view.settled and view.notified_at is not None, timeout_s=timeout_s
        )

    async def wait_until(
        self, booking_id: str, condition: Callable[[BookingView], bool], *, timeout_s: float = 5.0
    ) -> BookingView:
        kept, view = self._stored(booking_id), await self.fetch_view(booking_id)
        try:
            async with asyncio.timeout(timeout_s):
                while not condition(view):
                    await self._wait_for_change(booking_id, kept)
                    kept, view = self._stored(booking_id), await self.fetch_view(booking_id)
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s: {view}") from None
        return view

    async def _wait_for_change(self, booking_id: str, kept: object) -> None:
        """Looked at where it is kept: over HTTP, sixteen who wait would take the processor from who works."""
        while self._stored(booking_id) == kept:
            await asyncio.sleep(0.002)

    def _stored(self, booking_id: str) -> object:
        return self.db["booking"].tables.state.bookings.get(booking_id)


def ride(**changes: Any) -> dict[str, Any]:
    """A ride of 10 km on a Monday noon that at least one fleet takes."""
    soon = datetime.now(UTC) + timedelta(days=2)
    at = (soon + timedelta(days=-soon.weekday() % 7)).replace(hour=12, minute=0, second=0, microsecond=0)
    return {
        "rider_id": "rosa",
        "pickup": {"lat": 52.5, "lon": 13.4},
        "dropoff": {"lat": 52.59, "lon": 13.4},
        "pickup_at": at.isoformat(),
        "vehicle_class": "standard",
        "passengers": 1,
        **changes,
    }


def _view(body: bytes) -> BookingView:
    return msgspec.json.decode(body, type=BookingView)


async def _report_ready() -> Mapping[str, str]:
    return {}


async def _do_nothing() -> None:
    return None


@asynccontextmanager
async def _no_lifespan(_: Litestar) -> AsyncIterator[None]:
    yield
