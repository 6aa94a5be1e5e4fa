"""A rider's view of the suite: booking's HTTP API and nothing else."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import httpx
import msgspec

from prebook.contracts.booking import BookingView
from prebook.contracts.plan import Coupling, Plan
from prebook.flows import FLOWS
from tests.world import ride

ACCEPTED_STATUSES = (201, 202)


def uniform_plan(coupling: Coupling | str) -> Plan:
    """Return the plan in which every flow has the same coupling."""
    return dict.fromkeys(FLOWS, Coupling(coupling))


class RiderClient:
    """Books, reads and cancels rides over HTTP."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def post_booking(self, plan: Plan | None = None, *, key: str = "", **changes: Any) -> httpx.Response:
        """POST /v1/bookings with the idempotency key ``key``, or a new one; ``changes`` replace fields of the body."""
        body = {**ride(), **({"couplings": encode_plan(plan)} if plan else {}), **changes}
        return await self.http.post("/v1/bookings", json=body, headers={"Idempotency-Key": key or uuid4().hex})

    async def prebook(self, plan: Plan | None = None, **changes: Any) -> str:
        """Book a ride and return the id of the accepted booking."""
        response = await self.post_booking(plan, **changes)
        assert response.status_code in ACCEPTED_STATUSES, response.text
        booking_id: str = response.json()["id"]
        return booking_id

    async def prebook_all(self, plans: Sequence[Plan]) -> list[str]:
        """Book one ride per plan, concurrently, and return their ids."""
        return await asyncio.gather(*(self.prebook(plan) for plan in plans))

    async def fetch_view(self, booking_id: str) -> BookingView:
        """GET /v1/bookings/{id}."""
        response = await self.http.get(f"/v1/bookings/{booking_id}")
        assert response.status_code == 200, response.text
        return msgspec.json.decode(response.content, type=BookingView)

    async def cancel(self, booking_id: str) -> httpx.Response:
        """DELETE /v1/bookings/{id}."""
        return await self.http.delete(f"/v1/bookings/{booking_id}")


def encode_plan(plan: Plan) -> Mapping[str, str]:
    """Return a plan as it is written in JSON."""
    return {flow: coupling.value for flow, coupling in plan.items()}
