"""Sample booking, and a booking service on its own whose providers are fake."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec

from prebook.booking.app import SERVICE
from prebook.booking.domain.booking import Booking, Ride
from prebook.booking.store import LoadSignals
from prebook.contracts.matching import DriverMatched
from prebook.contracts.message import Message
from prebook.contracts.notification import Notice, NotifyRider, RiderNotified
from prebook.contracts.plan import Coupling
from prebook.contracts.pricing import FareQuoted
from prebook.contracts.ride import BookingState, Money, Place, StateChange, VehicleClass
from prebook.coupling.ports import HttpClient, HttpResponse
from prebook.flows import FLOWS
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.errors import Unreachable
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.runtime.loops import cancel_and_wait
from prebook.testing.configuration import make_policies, make_settings
from prebook.testing.http import open_client, open_internal_client
from prebook.testing.memory import MemoryDatabase
from prebook.testing.single import assemble_alone
from tests.booking.memory import MemoryBooking
from tests.conditions import wait_until
from tests.messaging.examples import request

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

SETTINGS = make_settings(rider_callback_hosts=frozenset({"hooks.example.com"}))


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
class Providers(HttpClient):
    """Providers of booking's flows behind HTTP: each replies at once, and refuses a flow for which it has no reply."""

    replies: Mapping[str, Message] = field(
        default_factory=lambda: {
            "quote_fare": QUOTED,
            "find_driver": MATCHED,
            "notify_rider": RiderNotified(notice=Notice.CONFIRMED),
        }
    )
    is_down: bool = False

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> HttpResponse:
        if self.is_down:
            raise Unreachable(f"{service} is down")
        received = decode(WireMessage(headers, body))
        reply = self.replies.get(received.flow)
        if reply is None:
            return HttpResponse(404, {}, b"")
        if isinstance(received.body, NotifyRider):
            reply = RiderNotified(notice=received.body.notice)
        message = encode(received.reply_with(reply, source=service, at=NOW))
        return HttpResponse(200, message.headers, message.body)


@dataclass
class BlockingProviders(Providers):
    """Providers whose replies wait until the test releases them."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def request(self, *args: Any, **options: Any) -> HttpResponse:
        self.arrived.set()
        await self.released.wait()
        return await super().request(*args, **options)


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


class BookingSuite:
    """Booking service in memory, whose flows all have one coupling, over ``providers``."""

    def __init__(
        self,
        coupling: Coupling = Coupling.REQUEST_REPLY,
        *,
        providers: Providers | None = None,
        begin: BeginUnitOfWork[Any] | None = None,
        **settings: Any,
    ) -> None:
        """``begin``: units of work on PostgreSQL instead of the in-memory database."""
        self.clock = Clock()
        self.providers = providers or Providers()
        self.database = MemoryDatabase(MemoryBooking(clock=lambda: self.clock.now), self.clock)
        self.assembled = assemble_alone(
            SERVICE,
            begin or self.database.begin,
            settings=msgspec.structs.replace(SETTINGS, **settings),
            policies=make_policies(coupling),
            http=self.providers,
            clock=self.clock,
        )

    @property
    def bookings(self) -> dict[str, Booking]:
        stored: dict[str, Booking] = self.database.tables.state.bookings
        return stored

    @property
    def event_types(self) -> list[str]:
        return [name.rpartition(".")[2] for name in self.database.tables.outbox if ".booking_" in name]

    async def sample_load(self, signals: LoadSignals) -> None:
        """Let the service's sampler read these load signals once."""
        self.database.tables.state.load_signals = signals
        before = self.database.tables
        sampler = asyncio.ensure_future(self.assembled.extensions.loops["load_sampler"]())
        await wait_until(lambda: self.database.tables is not before)
        await cancel_and_wait([sampler])

    async def open_circuit(self) -> None:
        """Let calls to the providers fail until booking stops calling them."""
        self.providers.is_down = True
        channel = self.assembled.channels[Coupling.SYNC_API]
        while channel.retry_after_s("pricing") is None:
            with contextlib.suppress(Unreachable):
                await channel.send(request(flow="quote_fare"))

    def client(self) -> httpx.AsyncClient:
        """HTTP client on this event loop, so that a test can act while a request is waiting."""
        return open_client(self.assembled)

    def console(self) -> httpx.AsyncClient:
        """HTTP client of the internal endpoints, signed by the console."""
        return open_internal_client(self.assembled)


def key_header(key: str = "k1") -> dict[str, str]:
    return {"idempotency-key": key}


async def book(suite: BookingSuite, *, key: str = "k1", **changes: Any) -> Any:
    async with suite.client() as client:
        return await client.post("/v1/bookings", json=body(**changes), headers=key_header(key))
