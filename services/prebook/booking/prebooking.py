"""A rider's request, served once per key however often it comes."""

import hashlib
import math
import secrets
from datetime import datetime, timedelta

import msgspec

from prebook.booking import process
from prebook.booking.admission import refusal
from prebook.booking.domain.booking import Booking, Ride
from prebook.booking.process import Step
from prebook.booking.store import BookingWork, Claim, StoredResponse
from prebook.booking.views import response_of
from prebook.contracts.booking import BookingRequest, Change, State
from prebook.contracts.plan import Plan
from prebook.flows import FLOWS
from prebook.http.problems import Problem
from prebook.messaging.channel import Channel
from prebook.messaging.outcome import Outcome
from prebook.messaging.policy import default_plan
from prebook.messaging.staging import Thread
from prebook.runtime.service import Running

LEASE = timedelta(seconds=10)
"""How long the first request may take before another one of the same key answers in its place."""


class KeyTaken(Exception):
    """Another request has this key."""


class Prebooking:
    def __init__(self, running: Running[BookingWork]) -> None:
        self._endpoint, self._begin = running.endpoint, running.begin
        self._settings, self._plan = running.settings, default_plan(running.policies)

    async def book(self, key: str, request: BookingRequest, traceparent: str) -> StoredResponse:
        """Raises Problem."""
        now, fingerprint = self._endpoint.clock(), fingerprint_of(request)
        step = process.requested(_booking(key, request, {**self._plan, **(request.couplings or {})}, now))
        refused = self._refused(request, step, now)
        if refused is not None:
            # What was answered before is answered again, whatever has changed since: the clock, the provider.
            return await self._again(key, fingerprint, otherwise=refused)
        try:
            return await self._opened(step, fingerprint, traceparent, now)
        except KeyTaken:
            return await self._again(key, fingerprint, otherwise=_in_progress())

    def _refused(self, request: BookingRequest, step: Step, now: datetime) -> Problem | None:
        override, hosts = self._settings.allow_plan_override, self._settings.callback_hosts
        refused = refusal(request, now, override=override, callback_hosts=hosts)
        return refused or self._overloaded(step)

    def _overloaded(self, step: Step) -> Problem | None:
        """A provider that cannot be asked now is not worth a booking that fails."""
        for channel, flow in self._channels(step):
            provider = FLOWS[flow].provider
            wait_s = channel.retry_after_s(provider)
            if wait_s is not None:
                headers = {"retry-after": str(max(1, math.ceil(wait_s)))}
                said = f"{provider} cannot be asked right now; try again after {headers['retry-after']} s"
                return Problem(503, f"{provider}_unavailable", said, headers=headers)
        return None

    def _channels(self, step: Step) -> list[tuple[Channel, str]]:
        return [(self._endpoint.channels[step.booking.plan[ask.flow]], ask.flow) for ask in step.asks]

    async def _opened(self, step: Step, fingerprint: bytes, traceparent: str, now: datetime) -> StoredResponse:
        """Where no answer can be in when this returns, the response is known before anything is stored."""
        booking = step.booking
        waits = any(channel.traits.answers_inline for channel, _ in self._channels(step))
        response = None if waits else response_of(booking)
        claim = Claim(
            key=booking.key, booking_id=booking.id, fingerprint=fingerprint, claimed_at=now, response=response
        )

        async def open_it(work: BookingWork) -> Outcome:
            if not await work.open(booking, claim):
                raise KeyTaken
            return Outcome(asks=step.asks, facts=step.facts)

        await self._endpoint.act(Thread(booking.id, booking.plan, traceparent, now), open_it)
        return response or await self._respond(claim)

    async def _again(self, key: str, fingerprint: bytes, *, otherwise: Problem) -> StoredResponse:
        async with self._begin() as work:
            claim = await work.claim(key)
        if claim is None:
            raise otherwise
        if claim.fingerprint != fingerprint:
            raise Problem(422, "idempotency_key_reused", "this key came with another body; take a new key for it")
        if claim.response is None and self._endpoint.clock() < claim.claimed_at + LEASE:
            raise _in_progress()
        return claim.response or await self._respond(claim)

    async def _respond(self, claim: Claim) -> StoredResponse:
        """From the booking as it is now, unless somebody else has answered meanwhile."""
        async with self._begin() as work:
            booking = await work.find(claim.booking_id)
            if booking is None:
                raise _in_progress()
            return await work.respond(claim.key, response_of(booking))


def fingerprint_of(request: BookingRequest) -> bytes:
    """SHA-256 of the request, however its JSON was spelled."""
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).digest()


def _booking(key: str, request: BookingRequest, plan: Plan, now: datetime) -> Booking:
    ride = Ride(
        rider_id=request.rider_id,
        pickup=request.pickup,
        dropoff=request.dropoff,
        pickup_at=request.pickup_at,
        vehicle_class=request.vehicle_class,
        passengers=request.passengers,
        report_to=request.callback_url,
    )
    return Booking(
        id=_sortable_id(now), key=key, ride=ride, plan=plan, history=(Change(state=State.REQUESTED, at=now),)
    )


def _sortable_id(now: datetime) -> str:
    """Milliseconds, then chance: ids sort by age, as in a UUIDv7, and index pages fill in order."""
    return f"bk_{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"


def _in_progress() -> Problem:
    return Problem(
        409, "request_in_progress", "the first request with this key is still running; try again", headers=_SOON
    )


_SOON = {"retry-after": "1"}
