"""Use case: a rider books a ride. An Idempotency-Key creates one booking; repeated requests get the stored response."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import structlog

from prebook.booking import metrics, process
from prebook.booking.domain.booking import Booking, Ride, RiderKey
from prebook.booking.load_shedding.campaign_tokens import CampaignTokens
from prebook.booking.load_shedding.rate_limiter import RiderRateLimiter
from prebook.booking.load_shedding.recent_keys import RecentKeys
from prebook.booking.load_shedding.shedder import LoadShedder
from prebook.booking.process import BookingTransition
from prebook.booking.retention import RETENTION_S
from prebook.booking.store import BookingWork, DuplicateKey, IdempotencyRecord, StoredResponse
from prebook.booking.use_cases.validation import validate
from prebook.booking.views import response_of
from prebook.contracts.booking import BookingRequest
from prebook.contracts.plan import Plan
from prebook.contracts.ride import BookingState, StateChange
from prebook.flows import FLOWS
from prebook.http.problems import Problem, retry_later_problem
from prebook.messaging.channel import Channel
from prebook.messaging.errors import Unreachable, error_summary
from prebook.messaging.handlers import HandlerContext, HandlerFunction, HandlerResult
from prebook.messaging.policy import default_plan
from prebook.messaging.staging import MessageContext
from prebook.patterns.bucket import TokenBucket
from prebook.patterns.trace import TraceContext
from prebook.runtime.retention import DAY_S
from prebook.runtime.service import ServiceContext

RESPONSE_LEASE = timedelta(seconds=10)
"""Time for the first request to store its response; after that, a repeated request stores one instead."""

RESPONSE_TIMEOUT_S = 8.0
"""Seconds after which a rider is answered although the booking is not settled, or not even stored: before clients give
up without an answer, and longer than the timeouts of all calls of a ride."""
RETRY_AFTER_TIMEOUT_S = 2.0
MAX_RECENT_KEYS = 20_000
log = structlog.get_logger()
RATE_LIMITED = "rate_limit_exceeded"
OVERLOADED = "overloaded"
LOOKUP_LIMITED_CODES = frozenset({RATE_LIMITED, OVERLOADED})
MAX_LOOKUPS_PER_S = 5.0
"""Store look-ups per second for refused requests whose key this process has not admitted itself."""


@dataclass(frozen=True, slots=True)
class CreateBooking:
    """Command: store a new booking under its Idempotency-Key and send its first requests."""

    transition: BookingTransition
    record: IdempotencyRecord


def create_booking(tokens: CampaignTokens) -> HandlerFunction[BookingWork]:
    """Handler of CreateBooking; the handler raises Problem if the campaign window has no token left."""

    async def handle(_: HandlerContext, command: CreateBooking, work: BookingWork) -> HandlerResult:
        await work.create(command.transition.booking, command.record)
        await tokens.take(work, command.record.key)
        return HandlerResult(requests=command.transition.requests, events=command.transition.events)

    return handle


class BookRide:
    """Admission of a booking request: refusal, new booking, or the stored response of an earlier request."""

    def __init__(
        self, context: ServiceContext[BookingWork], load_shedder: LoadShedder, rate_limiter: RiderRateLimiter
    ) -> None:
        self._gateway = context.gateway
        self._begin = context.units.commands
        self._channels_by_coupling = context.channels
        self._clock = context.clock
        self._settings = context.settings
        self._default_plan = default_plan(context.policies)
        self._load_shedder = load_shedder
        self._rate_limiter = rate_limiter
        self._recent_keys = RecentKeys(MAX_RECENT_KEYS)
        self._tasks = context.tasks
        self._lookups = TokenBucket.full(per_s=MAX_LOOKUPS_PER_S, burst=MAX_LOOKUPS_PER_S, now=time.monotonic())

    async def book(self, key: str, request: BookingRequest, trace: TraceContext) -> StoredResponse:
        """Serve a request with this Idempotency-Key and return its response. Raises Problem if the request is refused.

        Work that has begun is completed even if the rider disconnects.
        """
        now = self._clock()
        plan = {**self._default_plan, **(request.couplings or {})}
        transition = process.start(_new_booking(key, request, plan, now))
        refused = self._check_admission(request, transition, now)
        rider_key = transition.booking.rider_key
        if refused is not None:
            metrics.count_decision(refused.code)
            if refused.code in LOOKUP_LIMITED_CODES and not self._may_look_up(rider_key):
                raise refused
            # A stored response is repeated even if the clock, the load or a provider would refuse the request today.
            return await self._tasks.run_shielded(
                self._repeat_response(rider_key, fingerprint_of(request), otherwise=refused)
            )
        fingerprint = fingerprint_of(request)
        end_insert = self._load_shedder.begin_insert(rider_key, rider_waits=self._rider_waits(transition))
        stored = asyncio.Event()
        serving = self._tasks.start(self._serve(transition, fingerprint, trace, now, end_insert, stored=stored))
        await asyncio.wait({serving}, timeout=RESPONSE_TIMEOUT_S)
        if serving.done():
            return serving.result()
        serving.add_done_callback(_retrieve_error)
        if stored.is_set():
            return response_of(transition.booking)
        raise retry_later_problem(503, "response_timeout", "the booking takes longer than usual", RETRY_AFTER_TIMEOUT_S)

    def _check_admission(self, request: BookingRequest, transition: BookingTransition, now: datetime) -> Problem | None:
        settings = self._settings
        refused = validate(
            request, now, allow_plan_override=settings.allow_plan_override, callback_hosts=settings.rider_callback_hosts
        )
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
            429, RATE_LIMITED, f"rider {transition.booking.ride.rider_id} has requested too many bookings", wait_s
        )

    def _check_load(self, transition: BookingTransition) -> Problem | None:
        shed = self._load_shedder.decide(transition.booking.rider_key, transition.booking.plan)
        if shed is None:
            return None
        detail = f"more bookings are in progress than can be settled in time ({shed.reason})"
        return retry_later_problem(503, OVERLOADED, detail, shed.retry_after_s)

    def _may_look_up(self, key: RiderKey) -> bool:
        """Whether a refused request may look for its stored response. Refusals must stay cheaper than admissions."""
        if key in self._recent_keys:
            return True
        now = time.monotonic()
        if self._lookups.wait_s(now):
            return False
        self._lookups = self._lookups.taken(now)
        return True

    def _check_providers(self, transition: BookingTransition) -> Problem | None:
        """Refuse a booking whose first request would fail because its provider is unavailable."""
        for channel, flow in self._channels(transition):
            provider = FLOWS[flow].provider
            wait_s = channel.retry_after_s(provider)
            if wait_s is not None:
                return retry_later_problem(503, f"{provider}_unavailable", f"{provider} is unavailable", wait_s)
        return None

    def _channels(self, transition: BookingTransition) -> list[tuple[Channel, str]]:
        return [
            (self._channels_by_coupling[transition.booking.plan[request.flow]], request.flow)
            for request in transition.requests
        ]

    def _rider_waits(self, transition: BookingTransition) -> bool:
        """Whether the first request's reply arrives inline, so that the rider's connection waits for it."""
        return any(channel.traits.replies_inline for channel, _ in self._channels(transition))

    async def _serve(
        self,
        transition: BookingTransition,
        fingerprint: bytes,
        trace: TraceContext,
        now: datetime,
        end_insert: Callable[[], None],
        *,
        stored: asyncio.Event,
    ) -> StoredResponse:
        try:
            return await self._create(transition, fingerprint, trace, now, stored)
        except DuplicateKey:
            # Record and booking commit together: if there is no record, it has been purged.
            return await self._repeat_response(transition.booking.rider_key, fingerprint, otherwise=_key_used())
        finally:
            end_insert()

    async def _create(
        self,
        transition: BookingTransition,
        fingerprint: bytes,
        trace: TraceContext,
        now: datetime,
        stored: asyncio.Event,
    ) -> StoredResponse:
        """Store the booking, set ``stored``, and return its response.

        Without inline replies the response is computed first, so that it is stored in the same transaction.
        """
        booking = transition.booking
        response = None if self._rider_waits(transition) else response_of(booking)
        record = IdempotencyRecord(
            key=booking.rider_key, booking_id=booking.id, fingerprint=fingerprint, created_at=now, response=response
        )
        await self._gateway.execute(
            CreateBooking(transition, record),
            MessageContext(booking.id, booking.plan, trace, now),
            on_committed=stored.set,
        )
        metrics.count_decision(metrics.ADMITTED)
        self._recent_keys.add(booking.rider_key)
        try:
            return response or await self._respond(record)
        except Unreachable:
            # The booking is stored, so 503 would be wrong: 202 refers the rider to its Location.
            return response_of(booking)

    async def _repeat_response(self, key: RiderKey, fingerprint: bytes, *, otherwise: Problem) -> StoredResponse:
        async with self._begin() as work:
            record = await work.find_idempotency_record(key)
        if record is None:
            raise otherwise
        if record.fingerprint != fingerprint:
            raise Problem(422, "idempotency_key_reused", "this key was used with another body; use a new key")
        if record.response is None and self._clock() < record.created_at + RESPONSE_LEASE:
            raise _in_progress()
        return record.response or await self._respond(record)

    async def _respond(self, record: IdempotencyRecord) -> StoredResponse:
        """Store and return the response for the booking's current state; an earlier stored response wins."""
        async with self._begin() as work:
            booking = await work.find(record.booking_id)
            if booking is None:
                raise _in_progress()
            return await work.store_response(record.key, response_of(booking))


def _retrieve_error(serving: asyncio.Task[StoredResponse]) -> None:
    """Log the error of a booking whose rider has been answered already."""
    if not serving.cancelled() and (error := serving.exception()):
        log.warning("booking failed after its response", error=error_summary(error))


def fingerprint_of(request: BookingRequest) -> bytes:
    """SHA-256 of the decoded request in its one form; how its JSON is written does not matter."""
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
    """Booking id of milliseconds and a random part: ids sort by age, as in a UUIDv7, and index pages fill in order."""
    return f"bk_{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"


def _key_used() -> Problem:
    detail = f"a booking of more than {RETENTION_S // DAY_S:.0f} days ago has this key; use a new one"
    return Problem(422, "idempotency_key_used", detail)


def _in_progress() -> Problem:
    detail = "the first request with this key is still running; try again"
    return Problem(409, "request_in_progress", detail, headers={"retry-after": "1"})
