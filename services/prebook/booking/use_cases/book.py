"""A rider's request, served once per key however often it comes."""

import hashlib
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from prebook.booking import metrics, process
from prebook.booking.domain.booking import Booking, Ride
from prebook.booking.load_shedding.campaign_tokens import build_campaign_tokens
from prebook.booking.load_shedding.rate_limiter import build_rate_limiter
from prebook.booking.load_shedding.recent_keys import RecentKeys
from prebook.booking.load_shedding.shedder import build_load_shedder
from prebook.booking.process import BookingTransition
from prebook.booking.retention import RETENTION_S
from prebook.booking.store import BookingWork, DuplicateKey, IdempotencyRecord, StoredResponse
from prebook.booking.use_cases.validation import validate
from prebook.booking.views import response_of
from prebook.contracts.booking import BookingRequest, BookingState, StateChange
from prebook.contracts.plan import Plan
from prebook.flows import FLOWS
from prebook.http.problems import Problem, retry_later_problem
from prebook.messaging.asyncio_tools import ShieldedTasks
from prebook.messaging.channel import Channel
from prebook.messaging.errors import Unreachable
from prebook.messaging.handlers import HandlerResult
from prebook.messaging.policy import default_plan
from prebook.messaging.staging import MessageContext
from prebook.patterns.bucket import TokenBucket
from prebook.runtime.retention import DAY_S
from prebook.runtime.service import ServiceContext

RESPONSE_LEASE = timedelta(seconds=10)
"""How long the first request may take before another one of the same key answers in its place."""

MAX_RECENT_KEYS = 20_000
RATE_LIMITED, OVERLOADED = "rate_limit_exceeded", "overloaded"
LOOKUP_LIMITED_CODES = frozenset({RATE_LIMITED, OVERLOADED})
MAX_LOOKUPS_PER_S = 5.0
"""How many keys are looked up while much is refused, beside those that this process has let in itself."""


class BookRide:
    def __init__(self, context: ServiceContext[BookingWork]) -> None:
        self._endpoint, self._begin = context.endpoint, context.begin
        self._settings, self._default_plan = context.settings, default_plan(context.policies)
        self._load_shedder = context.singleton(build_load_shedder)
        self._rate_limiter, self._campaign_tokens = (
            context.singleton(build_rate_limiter),
            context.singleton(build_campaign_tokens),
        )
        self._recent_keys, self._shielded = RecentKeys(MAX_RECENT_KEYS), ShieldedTasks()
        self._lookups = TokenBucket.full(per_s=MAX_LOOKUPS_PER_S, burst=MAX_LOOKUPS_PER_S, now=time.monotonic())

    async def book(self, key: str, request: BookingRequest, traceparent: str) -> StoredResponse:
        """Raises Problem. Whatever is begun is also ended where the rider has hung up."""
        now, plan = self._endpoint.clock(), {**self._default_plan, **(request.couplings or {})}
        step = process.start(_new_booking(key, request, plan, now))
        refused = self._check_admission(request, step, now)
        if refused is not None:
            metrics.count_decision(refused.code)
            if refused.code in LOOKUP_LIMITED_CODES and not self._may_look_up(key):
                raise refused
            # What was answered before is answered again, whatever has changed since: the clock, the provider.
            return await self._shielded.run_shielded(
                self._repeat_response(key, fingerprint_of(request), otherwise=refused)
            )
        fingerprint = fingerprint_of(request)
        answered = self._load_shedder.begin_insert(key, rider_waits=self._rider_waits(step))
        return await self._shielded.run_shielded(self._serve(step, fingerprint, traceparent, now, answered))

    def _check_admission(self, request: BookingRequest, transition: BookingTransition, now: datetime) -> Problem | None:
        override, hosts = self._settings.allow_plan_override, self._settings.rider_callback_hosts
        refused = validate(request, now, allow_plan_override=override, callback_hosts=hosts)
        return (
            refused
            or self._check_rate_limit(transition)
            or self._check_providers(transition)
            or self._check_load(transition)
        )

    def _check_rate_limit(self, transition: BookingTransition) -> Problem | None:
        wait_s = self._rate_limiter.acquire(transition.booking.ride.rider_id, time.monotonic())
        if not wait_s:
            return None
        return retry_later_problem(
            429, RATE_LIMITED, f"rider {transition.booking.ride.rider_id} has asked for too many bookings", wait_s
        )

    def _check_load(self, transition: BookingTransition) -> Problem | None:
        shed = self._load_shedder.decide(transition.booking.key, transition.booking.plan)
        if shed is None:
            return None
        said = f"more bookings are under way than can be settled in time ({shed.reason})"
        return retry_later_problem(503, OVERLOADED, said, shed.retry_after_s)

    def _may_look_up(self, key: str) -> bool:
        """Refusing must stay cheaper than serving: while much is refused, only so many are looked up in the store."""
        if key in self._recent_keys:
            return True
        now = time.monotonic()
        if self._lookups.wait_s(now):
            return False
        self._lookups = self._lookups.taken(now)
        return True

    def _check_providers(self, transition: BookingTransition) -> Problem | None:
        """A provider that cannot be asked now is not worth a booking that fails."""
        for channel, flow in self._channels(transition):
            provider = FLOWS[flow].provider
            wait_s = channel.retry_after_s(provider)
            if wait_s is not None:
                return retry_later_problem(
                    503, f"{provider}_unavailable", f"{provider} cannot be asked right now", wait_s
                )
        return None

    def _channels(self, transition: BookingTransition) -> list[tuple[Channel, str]]:
        return [(self._endpoint.channels[transition.booking.plan[ask.flow]], ask.flow) for ask in transition.requests]

    def _rider_waits(self, transition: BookingTransition) -> bool:
        """The rider is held until answers are in."""
        return any(channel.traits.replies_inline for channel, _ in self._channels(transition))

    async def _serve(
        self,
        transition: BookingTransition,
        fingerprint: bytes,
        traceparent: str,
        now: datetime,
        end_insert: Callable[[], None],
    ) -> StoredResponse:
        try:
            return await self._create(transition, fingerprint, traceparent, now)
        except DuplicateKey:
            # Claim and booking commit together: where the claim is not there, it has been purged.
            return await self._repeat_response(transition.booking.key, fingerprint, otherwise=_key_used())
        finally:
            end_insert()

    async def _create(
        self, transition: BookingTransition, fingerprint: bytes, traceparent: str, now: datetime
    ) -> StoredResponse:
        """Where no answer can be in when this returns, the response is known before anything is stored."""
        booking = transition.booking
        response = None if self._rider_waits(transition) else response_of(booking)
        claim = IdempotencyRecord(
            key=booking.key, booking_id=booking.id, fingerprint=fingerprint, created_at=now, response=response
        )

        async def apply(work: BookingWork) -> HandlerResult:
            await work.create(booking, claim)
            await self._campaign_tokens.take(work, booking.key)
            return HandlerResult(requests=transition.requests, events=transition.events)

        await self._endpoint.execute_command(MessageContext(booking.id, booking.plan, traceparent, now), apply)
        metrics.count_decision(metrics.ADMITTED)
        self._recent_keys.add(booking.key)
        try:
            return response or await self._respond(claim)
        except Unreachable:
            # It is taken in, and 503 would say that it is not. Its outcome is found where the response says.
            return response_of(booking)

    async def _repeat_response(self, key: str, fingerprint: bytes, *, otherwise: Problem) -> StoredResponse:
        async with self._begin() as work:
            claim = await work.find_idempotency_record(key)
        if claim is None:
            raise otherwise
        if claim.fingerprint != fingerprint:
            raise Problem(422, "idempotency_key_reused", "this key came with another body; take a new key for it")
        if claim.response is None and self._endpoint.clock() < claim.created_at + RESPONSE_LEASE:
            raise _in_progress()
        return claim.response or await self._respond(claim)

    async def _respond(self, record: IdempotencyRecord) -> StoredResponse:
        """From the booking as it is now, unless somebody else has answered meanwhile."""
        async with self._begin() as work:
            booking = await work.find(record.booking_id)
            if booking is None:
                raise _in_progress()
            return await work.store_response(record.key, response_of(booking))


def fingerprint_of(request: BookingRequest) -> bytes:
    """SHA-256 of the request, however its JSON was spelled."""
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).digest()


def _new_booking(key: str, request: BookingRequest, plan: Plan, now: datetime) -> Booking:
    ride = Ride(
        rider_id=request.rider_id,
        pickup=request.pickup,
        dropoff=request.dropoff,
        pickup_at=request.pickup_at,
        vehicle_class=request.vehicle_class,
        passengers=request.passengers,
        report_url=request.callback_url,
    )
    return Booking(
        id=_sortable_id(now),
        key=key,
        ride=ride,
        plan=plan,
        history=(StateChange(state=BookingState.REQUESTED, at=now),),
    )


def _sortable_id(now: datetime) -> str:
    """Milliseconds, then chance: ids sort by age, as in a UUIDv7, and index pages fill in order."""
    return f"bk_{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"


def _key_used() -> Problem:
    said = f"a booking of more than {RETENTION_S // DAY_S:.0f} days ago has this key; take a new one"
    return Problem(422, "idempotency_key_used", said)


def _in_progress() -> Problem:
    said, soon = "the first request with this key is still running; try again", {"retry-after": "1"}
    return Problem(409, "request_in_progress", said, headers=soon)
