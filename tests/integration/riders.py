"""Riders: they know booking's HTTP address, and nothing else."""

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

ACCEPTED = (201, 202)


def pure(coupling: Coupling | str) -> Plan:
    """Every flow in one coupling."""
    return dict.fromkeys(FLOWS, Coupling(coupling))


class Riders:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def post(self, plan: Plan | None = None, *, key: str = "", **changes: Any) -> httpx.Response:
        """POST /v1/bookings."""
        body = {**ride(), **({"couplings": spelled(plan)} if plan else {}), **changes}
        return await self.http.post("/v1/bookings", json=body, headers={"Idempotency-Key": key or uuid4().hex})

    async def prebook(self, plan: Plan | None = None, **changes: Any) -> str:
        """The id of a booking that was accepted."""
        response = await self.post(plan, **changes)
        assert response.status_code in ACCEPTED, response.text
        booking_id: str = response.json()["id"]
        return booking_id

    async def several(self, plans: Sequence[Plan]) -> list[str]:
        """The ids of as many bookings, all under way at once."""
        return await asyncio.gather(*(self.prebook(plan) for plan in plans))

    async def view(self, booking_id: str) -> BookingView:
        response = await self.http.get(f"/v1/bookings/{booking_id}")
        assert response.status_code == 200, response.text
        return msgspec.json.decode(response.content, type=BookingView)

    async def cancel(self, booking_id: str) -> httpx.Response:
        return await self.http.delete(f"/v1/bookings/{booking_id}")


def spelled(plan: Plan) -> Mapping[str, str]:
    return {flow: coupling.value for flow, coupling in plan.items()}
