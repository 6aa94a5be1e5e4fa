"""Sample booking, and a booking service in memory with one fake channel for all couplings."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
from litestar import Litestar

from prebook.booking.api import routes
from prebook.booking.app import SERVICE
from prebook.booking.domain.booking import Booking, Ride
from prebook.booking.load_shedding.rate_limiter import RiderRateLimiter
from prebook.booking.load_shedding.shedder import LoadShedder
from prebook.booking.use_cases.book import BookRide
from prebook.contracts.matching import DriverMatched
from prebook.contracts.message import Message
from prebook.contracts.notification import Notice, NotifyRider, RiderNotified
from prebook.contracts.plan import Coupling
from prebook.contracts.pricing import FareQuoted
from prebook.contracts.ride import BookingState, Money, Place, StateChange, VehicleClass
from prebook.flows import FLOWS
from prebook.http.app import create_app
from prebook.messaging.channel import CouplingTraits
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Unreachable
from prebook.messaging.policy import FlowPolicy
from prebook.runtime.settings import ServiceSettings
from prebook.testing.context import make_context
from prebook.testing.memory import MemoryDatabase
from tests.booking.memory import MemoryBooking

NOW = datetime(2030, 5, 1, 12, 0, tzinfo=UTC)
PICKUP = Place(lat=52.52, lon=13.40)
DROPOFF = Place(lat=52.45, lon=13.30)
PLAN = dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY)
RIDE = Ride(
    rider_id="rosa",
    pickup=PICKUP,
    dropoff=DROPOFF,
    pickup_at=NOW + timedelta(hours=20, minutes=7),
    vehicle_class=VehicleClass.STANDARD,
    passengers=2,
)
BOOKING = Booking(
    id="bk_1", key="k1", ride=RIDE, plan=PLAN, history=(StateChange(state=BookingState.REQUESTED, at=NOW),)
)
QUOTED = FareQuoted(fare=Money(cents=2100), discount=Money(cents=0), valid_until=NOW + timedelta(minutes=15))
MATCHED = DriverMatched(fleet="ada", driver="grace", minutes_away=4)

SETTINGS = ServiceSettings(
    database_url="postgresql+asyncpg://unused",
    amqp_url="amqp://unused",
    callback_secrets=("unused",),
    url_booking="http://booking",
    url_pricing="http://pricing",
    url_matching="http://matching",
    url_notification="http://notification",
    url_fleets="http://fleets",
    couplings="unused",
    rider_callback_hosts=frozenset({"hooks.example.com"}),
)


def body(**changes: Any) -> dict[str, Any]:
    """A valid request body."""
    return {
        "rider_id": "rosa",
        "pickup": {"lat": 52.52, "lon": 13.40},
        "dropoff": {"lat": 52.45, "lon": 13.30},
        "pickup_at": "2030-05-02T08:07:00Z",
        "vehicle_class": "standard",
        "passengers": 2,
        **changes,
    }


@dataclass
class FakeChannel:
    """Channel that replies inline at once, or whose provider is unreachable if it has no reply to a flow."""

    traits: CouplingTraits
    wait_s: float | None = None
    replies: Mapping[str, Message] = field(
        default_factory=lambda: {
            "quote_fare": QUOTED,
            "find_driver": MATCHED,
            "notify_rider": RiderNotified(notice=Notice.CONFIRMED),
        }
    )

    def route(self, envelope: Envelope) -> str:
        return "fake"

    def addressed(self, request: Envelope) -> Envelope:
        return request

    async def send(self, envelope: Envelope) -> Envelope | None:
        reply = self.replies.get(envelope.flow)
        if reply is None:
            raise Unreachable("no provider")
        if isinstance(envelope.body, NotifyRider):
            reply = RiderNotified(notice=envelope.body.notice)
        return envelope.reply_with(reply, source="provider", at=NOW)

    async def reply(self, reply: Envelope) -> None: ...

    async def poll(self, request: Envelope) -> Envelope | None:
        return None

    def retry_after_s(self, provider: str) -> float | None:
        return self.wait_s


@dataclass
class BlockingChannel(FakeChannel):
    """Channel whose requests wait until the test releases them."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, envelope: Envelope) -> Envelope | None:
        self.arrived.set()
        await self.released.wait()
        return await super().send(envelope)


def blocking_channel() -> BlockingChannel:
    return BlockingChannel(inline_channel().traits)


def inline_channel(**changes: Any) -> FakeChannel:
    return FakeChannel(CouplingTraits(replies_inline=True, needs_broker_up=False, uses_outbox=False), **changes)


def queued_channel(**changes: Any) -> FakeChannel:
    return FakeChannel(CouplingTraits(replies_inline=False, needs_broker_up=True, uses_outbox=True), **changes)


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


class BookingSuite:
    """Booking service in memory, with one fake channel for every coupling."""

    def __init__(self, channel: FakeChannel, begin: Any = None, **settings: Any) -> None:
        self.clock = Clock()
        self.channel = channel
        self.state = MemoryBooking(clock=lambda: self.clock.now)
        self.database = MemoryDatabase(self.state, self.clock)
        self.begin = begin or self.database.begin
        policies = {flow: FlowPolicy(coupling=Coupling.REQUEST_REPLY) for flow in FLOWS}
        self.settings = msgspec.structs.replace(SETTINGS, **settings)
        self.context = make_context(
            "booking",
            self.begin,
            self.settings,
            handlers=SERVICE.handlers(self.settings),
            channels=dict.fromkeys(Coupling, channel),
            policies=policies,
            clock=self.clock,
        )
        self.gateway = self.context.gateway
        self.shedder = LoadShedder(self.settings, policies, self.context.channels, lambda: None)
        limiter = RiderRateLimiter(per_s=self.settings.rider_rate_per_s, burst=self.settings.rider_burst)
        self.book_ride = BookRide(self.context, self.shedder, limiter)

    @property
    def bookings(self) -> dict[str, Booking]:
        stored: dict[str, Booking] = self.database.tables.state.bookings
        return stored

    @property
    def event_types(self) -> list[str]:
        return [name.rpartition(".")[2] for name in self.database.tables.outbox if ".booking_" in name]

    def client(self) -> httpx.AsyncClient:
        """HTTP client on this event loop, so that a test can act while a request is waiting."""
        app: Any = self.app()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://booking")

    def app(self) -> Litestar:
        return create_app(
            "booking",
            routes(self.context, self.book_ride),
            missing_dependencies=_nothing,
            refresh_gauges=_no_gauge,
            lifespan=_no_loops,
        )


async def _nothing() -> Mapping[str, str]:
    return {}


async def _no_gauge() -> None: ...


@asynccontextmanager
async def _no_loops(_: Litestar) -> AsyncIterator[None]:
    yield


def key_header(key: str = "k1") -> dict[str, str]:
    return {"idempotency-key": key}


async def book(suite: BookingSuite, *, key: str = "k1", **changes: Any) -> Any:
    async with suite.client() as client:
        return await client.post("/v1/bookings", json=body(**changes), headers=key_header(key))
