"""All services of the suite in one process with in-memory adapters, and the actions of a rider."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import msgspec

from prebook.booking.app import SERVICE as BOOKING
from prebook.contracts.booking import BookingView
from prebook.contracts.plan import Plan
from prebook.contracts.trip_http import TripView
from prebook.fleets.app import SERVICE as FLEETS
from prebook.matching.app import SERVICE as MATCHING
from prebook.messaging.observer import NullObserver
from prebook.notification.app import SERVICE as NOTIFICATION
from prebook.patterns.trace import NO_TRACE, TraceContext
from prebook.pricing.app import SERVICE as PRICING
from prebook.runtime.service import Service
from prebook.runtime.settings import ServiceSettings
from prebook.testing.configuration import make_policies, make_settings
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


def settings(**changes: Any) -> ServiceSettings:
    """Settings of a service in tests, with ``changes``."""
    return make_settings(allow_plan_override=True, **changes)


@dataclass
class CountingObserver(NullObserver):
    """Counts duplicates, and lists the flows and traces of handled messages and the attempts that failed."""

    duplicates: int = 0
    handled_flows: list[str] = dataclass_field(default_factory=list)
    handled_traces: list[TraceContext] = dataclass_field(default_factory=list)
    failed_attempts: list[tuple[str, int]] = dataclass_field(default_factory=list)
    """Message id and attempt of every failed handling."""

    def on_duplicate(self, envelope: Any) -> None:
        del envelope
        self.duplicates += 1

    def on_handled(self, envelope: Any, seconds: float) -> None:
        del seconds
        self.handled_flows.append(envelope.flow)
        self.handled_traces.append(envelope.trace)

    def on_handling_failed(self, envelope: Any, error: Exception) -> None:
        del error
        self.failed_attempts.append((envelope.id, envelope.attempt))


class SuiteWorld(World):
    """All services of the suite, with a rider's view of them.

    ``deadline_s``: deadline of every flow and timeout of a synchronous call; a busy processor must end no call early.
    ``policy``: other values of every flow's policy.
    """

    def __init__(
        self,
        *,
        copies: int = 1,
        deadline_s: float = 20.0,
        policy: Mapping[str, Any] | None = None,
        **setting: Any,
    ) -> None:
        self.observer = CountingObserver()
        super().__init__(
            MEMBERS,
            settings=settings(**setting),
            policies=make_policies(deadline_s=deadline_s, timeout_s=deadline_s, **(policy or {})),
            observer=self.observer,
            copies=copies,
        )

    async def post_booking(
        self, plan: Plan, *, key: str = "", trace: TraceContext = NO_TRACE, **changes: Any
    ) -> httpx.Response:
        """POST /v1/bookings as a rider would."""
        headers = {"Idempotency-Key": key or uuid4().hex, **trace.headers}
        body = {**ride(), "couplings": {name: coupling.value for name, coupling in plan.items()}, **changes}
        return await self.http.client("booking").post("/v1/bookings", json=body, headers=headers)

    async def book(self, plan: Plan, **changes: Any) -> str:
        """Book a ride and return the id of the accepted booking."""
        response = await self.post_booking(plan, **changes)
        assert response.status_code in (201, 202), response.text
        booking_id: str = response.json()["id"]
        return booking_id

    async def fetch_view(self, booking_id: str) -> BookingView:
        """GET /v1/bookings/{id} as its rider would."""
        response = await self.http.client("booking").get(f"/v1/bookings/{booking_id}")
        return _view(response.content)

    async def book_trip(self, plan: Plan, legs: Sequence[Mapping[str, Any]], **changes: Any) -> str:
        """Book a trip as a rider would; return the id of the accepted trip."""
        body = {
            "rider_id": "rosa",
            "legs": [leg_of(each) for each in legs],
            "couplings": {name: coupling.value for name, coupling in plan.items()},
            **changes,
        }
        headers = {"Idempotency-Key": uuid4().hex}
        response = await self.http.client("booking").post("/v1/trips", json=body, headers=headers)
        assert response.status_code == 202, response.text
        trip_id: str = response.json()["id"]
        return trip_id

    async def fetch_trip(self, trip_id: str) -> TripView:
        """GET /v1/trips/{id} as its rider would."""
        response = await self.http.client("booking").get(f"/v1/trips/{trip_id}")
        return msgspec.json.decode(response.content, type=TripView)

    async def wait_for_trip(
        self, trip_id: str, condition: Callable[[TripView], bool], *, timeout_s: float = 20.0
    ) -> TripView:
        """Wait until ``condition`` holds for a trip, and return it. Raises AssertionError after ``timeout_s``."""
        view = await self.fetch_trip(trip_id)
        try:
            async with asyncio.timeout(timeout_s):
                while not condition(view):
                    await asyncio.sleep(0.01)
                    view = await self.fetch_trip(trip_id)
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s: {view}") from None
        return view

    async def wait_until_settled(self, booking_id: str, *, timeout_s: float = 20.0) -> BookingView:
        """Wait until a booking is settled and its rider is notified; return it."""
        return await self.wait_until(
            booking_id, lambda view: view.settled and view.notified_at is not None, timeout_s=timeout_s
        )

    async def wait_until(
        self, booking_id: str, condition: Callable[[BookingView], bool], *, timeout_s: float = 20.0
    ) -> BookingView:
        """Wait until ``condition`` holds for a booking, and return it. Raises AssertionError after ``timeout_s``."""
        stored = self._stored(booking_id)
        view = await self.fetch_view(booking_id)
        try:
            async with asyncio.timeout(timeout_s):
                while not condition(view):
                    await self._wait_for_change(booking_id, stored)
                    stored = self._stored(booking_id)
                    view = await self.fetch_view(booking_id)
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s: {view}") from None
        return view

    async def _wait_for_change(self, booking_id: str, before: object) -> None:
        """Poll the stored state, not the API: sixteen waiting rides that poll over HTTP would slow the services."""
        while self._stored(booking_id) == before:
            await asyncio.sleep(0.002)

    def _stored(self, booking_id: str) -> object:
        return self.databases["booking"].tables.state.bookings.get(booking_id)


def ride(**changes: Any) -> dict[str, Any]:
    """Body of a booking request: 10 km on a Monday noon; at least one fleet offers a driver."""
    in_two_days = datetime.now(UTC) + timedelta(days=2)
    monday = in_two_days + timedelta(days=-in_two_days.weekday() % 7)
    pickup_at = monday.replace(hour=12, minute=0, second=0, microsecond=0)
    return {
        "rider_id": "rosa",
        "pickup": {"lat": 52.5, "lon": 13.4},
        "dropoff": {"lat": 52.59, "lon": 13.4},
        "pickup_at": pickup_at.isoformat(),
        "vehicle_class": "standard",
        "passengers": 1,
        **changes,
    }


def leg_of(ride_body: Mapping[str, Any]) -> dict[str, Any]:
    """Body of a trip's leg for a ride."""
    return {name: value for name, value in ride_body.items() if name not in {"rider_id", "callback_url", "couplings"}}


def _view(body: bytes) -> BookingView:
    return msgspec.json.decode(body, type=BookingView)
