"""The suite's services in one process, in memory, and what a rider does with them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import msgspec

from prebook.booking.app import SERVICE as BOOKING
from prebook.contracts.booking import BookingView
from prebook.contracts.plan import Coupling, Plan
from prebook.fleets.app import SERVICE as FLEETS
from prebook.flows import FLOWS, SERVICES
from prebook.matching.app import SERVICE as MATCHING
from prebook.messaging.observer import NullObserver
from prebook.messaging.policy import FlowPolicy
from prebook.notification.app import SERVICE as NOTIFICATION
from prebook.pricing.app import SERVICE as PRICING
from prebook.runtime.service import Service
from prebook.runtime.settings import ServiceSettings
from prebook.testing.world import World
from tests.booking.memory import MemoryBooking
from tests.fleets.memory import MemoryFleets
from tests.matching.memory import MemoryMatching
from tests.notification.memory import MemoryNotification
from tests.pricing.memory import MemoryPricing

MEMBERS: Mapping[str, tuple[Service[Any], Callable[[], Any]]] = {
    "booking": (BOOKING, MemoryBooking),
    "pricing": (PRICING, MemoryPricing),
    "matching": (MATCHING, MemoryMatching),
    "notification": (NOTIFICATION, MemoryNotification),
    "fleets": (FLEETS, MemoryFleets),
}
SECRETS = ("a secret of tests",)


def settings(**changes: Any) -> ServiceSettings:
    urls = {f"url_{name}": f"http://{name}" for name in SERVICES}
    given = {"database_url": "postgresql+asyncpg://none", "amqp_url": "amqp://none", "couplings": "none", **urls}
    return ServiceSettings(callback_secrets=SECRETS, allow_plan_override=True, **{**given, **changes})


def policies(**changes: Any) -> dict[str, FlowPolicy]:
    return {name: FlowPolicy(coupling=Coupling.ONE_WAY, **changes) for name in FLOWS}


@dataclass
class CountingObserver(NullObserver):
    """Counts duplicates and lists the flows of handled messages."""

    duplicates: int = 0
    handled_flows: list[str] = dataclass_field(default_factory=list)

    def on_duplicate(self, envelope: Any) -> None:
        del envelope
        self.duplicates += 1

    def on_handled(self, envelope: Any, seconds: float) -> None:
        del seconds
        self.handled_flows.append(envelope.flow)


class SuiteWorld(World):
    """All services of the suite, with a rider's view of them."""

    def __init__(self, *, copies: int = 1, deadline_s: float = 20.0, **setting: Any) -> None:
        self.observer = CountingObserver()
        super().__init__(
            MEMBERS,
            settings=settings(**setting),
            policies=policies(deadline_s=deadline_s),
            observer=self.observer,
            copies=copies,
        )

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
        return self.databases["booking"].tables.state.bookings.get(booking_id)


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
