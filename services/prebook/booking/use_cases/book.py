"""A rider's request, served once per key however often it comes."""

import hashlib
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from prebook.booking import metrics, process
from prebook.booking.domain.booking import Booking, Ride
from prebook.booking.load_shedding.campaign_tokens import tokens
from prebook.booking.load_shedding.rate_limiter import quotas
from prebook.booking.load_shedding.recent_keys import RecentKeys
from prebook.booking.load_shedding.shedder import admitting
from prebook.booking.process import Step
from prebook.booking.retention import KEEP_S
from prebook.booking.store import BookingWork, Claim, KeyTaken, StoredResponse
from prebook.booking.use_cases.validation import refusal
from prebook.booking.views import response_of
from prebook.contracts.booking import BookingRequest, Change, State
from prebook.contracts.plan import Plan
from prebook.flows import FLOWS
from prebook.http.problems import Problem, later
from prebook.messaging.asyncio_tools import Unbroken
from prebook.messaging.channel import Channel, Unreachable
from prebook.messaging.handlers import Outcome
from prebook.messaging.policy import default_plan
from prebook.messaging.staging import Thread
from prebook.patterns.bucket import TokenBucket
from prebook.runtime.retention import DAY_S
from prebook.runtime.service import Running

LEASE = timedelta(seconds=10)
"""How long the first request may take before another one of the same key answers in its place."""

MOST_KEYS = 20_000
QUOTA, OVERLOADED = "quota_used_up", "overloaded"
HASTY = frozenset({QUOTA, OVERLOADED})
LOOKS_PER_S = 5.0
"""How many keys are looked up while much is refused, beside those that this process has let in itself."""


class Prebooking:
    def __init__(self, running: Running[BookingWork]) -> None:
        self._endpoint, self._begin = running.endpoint, running.begin
        self._settings, self._plan = running.settings, default_plan(running.policies)
        self._admitting = running.one(admitting)
        self._quotas, self._tokens = running.one(quotas), running.one(tokens)
        self._let_in, self._unbroken = RecentKeys(MOST_KEYS), Unbroken()
        self._looks = TokenBucket.full(per_s=LOOKS_PER_S, burst=LOOKS_PER_S, now=time.monotonic())

    async def book(self, key: str, request: BookingRequest, traceparent: str) -> StoredResponse:
        """Raises Problem. Whatever is begun is also ended where the rider has hung up."""
        now, plan = self._endpoint.clock(), {**self._plan, **(request.couplings or {})}
        step = process.requested(_booking(key, request, plan, now))
        refused = self._refused(request, step, now)
        if refused is not None:
            metrics.said(refused.code)
            if refused.code in HASTY and not self._may_look(key):
                raise refused
            # What was answered before is answered again, whatever has changed since: the clock, the provider.
            return await self._unbroken.run(self._again(key, fingerprint_of(request), otherwise=refused))
        fingerprint = fingerprint_of(request)
        answered = self._admitting.entered(key, held=self._waits(step))
        return await self._unbroken.run(self._served(step, fingerprint, traceparent, now, answered))

    def _refused(self, request: BookingRequest, step: Step, now: datetime) -> Problem | None:
        override, hosts = self._settings.allow_plan_override, self._settings.callback_hosts
        refused = refusal(request, now, override=override, callback_hosts=hosts)
        return refused or self._used_up(step) or self._unavailable(step) or self._overloaded(step)

    def _used_up(self, step: Step) -> Problem | None:
        wait_s = self._quotas.wait_s(step.booking.ride.rider_id, time.monotonic())
        if not wait_s:
            return None
        return later(429, QUOTA, f"rider {step.booking.ride.rider_id} has asked for too many bookings", wait_s)

    def _overloaded(self, step: Step) -> Problem | None:
        shed = self._admitting.refuses(step.booking.key, step.booking.plan)
        if shed is None:
            return None
        said = f"more bookings are under way than can be settled in time ({shed.reason})"
        return later(503, OVERLOADED, said, shed.retry_after_s)

    def _may_look(self, key: str) -> bool:
        """Refusing must stay cheaper than serving: while much is refused, only so many are looked up in the store."""
        if key in self._let_in:
            return True
        now = time.monotonic()
        if self._looks.wait_s(now):
            return False
        self._looks = self._looks.taken(now)
        return True

    def _unavailable(self, step: Step) -> Problem | None:
        """A provider that cannot be asked now is not worth a booking that fails."""
        for channel, flow in self._channels(step):
            provider = FLOWS[flow].provider
            wait_s = channel.retry_after_s(provider)
            if wait_s is not None:
                return later(503, f"{provider}_unavailable", f"{provider} cannot be asked right now", wait_s)
        return None

    def _channels(self, step: Step) -> list[tuple[Channel, str]]:
        return [(self._endpoint.channels[step.booking.plan[ask.flow]], ask.flow) for ask in step.asks]

    def _waits(self, step: Step) -> bool:
        """The rider is held until answers are in."""
        return any(channel.traits.answers_inline for channel, _ in self._channels(step))

    async def _served(
        self, step: Step, fingerprint: bytes, traceparent: str, now: datetime, answered: Callable[[], None]
    ) -> StoredResponse:
        try:
            return await self._opened(step, fingerprint, traceparent, now)
        except KeyTaken:
            # Claim and booking commit together: where the claim is not there, it has been purged.
            return await self._again(step.booking.key, fingerprint, otherwise=_forgotten())
        finally:
            answered()

    async def _opened(self, step: Step, fingerprint: bytes, traceparent: str, now: datetime) -> StoredResponse:
        """Where no answer can be in when this returns, the response is known before anything is stored."""
        booking = step.booking
        response = None if self._waits(step) else response_of(booking)
        claim = Claim(
            key=booking.key, booking_id=booking.id, fingerprint=fingerprint, claimed_at=now, response=response
        )

        async def open_it(work: BookingWork) -> Outcome:
            await work.open(booking, claim)
            await self._tokens.take(work, booking.key)
            return Outcome(asks=step.asks, facts=step.facts)

        await self._endpoint.act(Thread(booking.id, booking.plan, traceparent, now), open_it)
        metrics.said(metrics.ADMITTED)
        self._let_in.add(booking.key)
        try:
            return response or await self._respond(claim)
        except Unreachable:
            # It is taken in, and 503 would say that it is not. Its outcome is found where the response says.
            return response_of(booking)

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


def _forgotten() -> Problem:
    said = f"a booking of more than {KEEP_S // DAY_S:.0f} days ago has this key; take a new one"
    return Problem(422, "idempotency_key_used", said)


def _in_progress() -> Problem:
    said, soon = "the first request with this key is still running; try again", {"retry-after": "1"}
    return Problem(409, "request_in_progress", said, headers=soon)
