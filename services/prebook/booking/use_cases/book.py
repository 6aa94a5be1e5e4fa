"""Use case: a rider books a ride. An Idempotency-Key creates one booking; repeated requests get the stored response."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from prebook.booking import metrics, process
from prebook.booking.domain.booking import Booking, Ride, RiderKey
from prebook.booking.load_shedding.campaign_tokens import CampaignTokens
from prebook.booking.process import BookingTransition
from prebook.booking.retention import RETENTION_S
from prebook.booking.store import BookingWork, DuplicateKey, IdempotencyRecord, StoredResponse
from prebook.booking.use_cases.admission import Admission
from prebook.booking.use_cases.response_times import ResponseTimes
from prebook.booking.use_cases.switches import Switches
from prebook.booking.use_cases.validation import validate
from prebook.booking.views import response_of
from prebook.contracts.booking import BookingRequest, RideRequest
from prebook.contracts.plan import Plan
from prebook.contracts.ride import BookingState, StateChange
from prebook.http.problems import Problem, retry_later_problem
from prebook.messaging.errors import Unreachable, error_summary
from prebook.messaging.handlers import HandlerContext, HandlerFunction, HandlerResult
from prebook.messaging.staging import MessageContext
from prebook.patterns.trace import TraceContext
from prebook.runtime.retention import DAY_S
from prebook.runtime.service import ServiceContext

RESPONSE_LEASE = timedelta(seconds=10)
"""Time for the first request to store its response; after that, a repeated request stores one instead."""

RESPONSE_TIMEOUT_S = 8.0
"""Seconds after which a rider is answered although the booking is not settled, or not even stored: before clients give
up without an answer, and longer than the timeouts of all calls of a ride."""
RETRY_AFTER_TIMEOUT_S = 2.0
log = structlog.get_logger()


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
        self,
        context: ServiceContext[BookingWork],
        admission: Admission,
        response_times: ResponseTimes,
        switches: Switches,
    ) -> None:
        self._gateway = context.gateway
        self._begin = context.units.commands
        self._clock = context.clock
        self._settings = context.settings
        self._switches = switches
        self._admission = admission
        self._response_times = response_times
        self._tasks = context.tasks

    async def book(self, key: str, request: BookingRequest, trace: TraceContext) -> StoredResponse:
        """Serve a request with this Idempotency-Key and return its response. Raises Problem if the request is refused.

        Work that has begun is completed even if the rider disconnects.
        """
        now = self._clock()
        arrived_s = self._response_times.now()
        plan = {**await self._switches.default_plan(), **(request.couplings or {})}
        transition = process.start(_new_booking(key, request, plan, now), names_rider=self._settings.enriches_fares)
        refused = self._check_admission(request, transition, now)
        rider_key = transition.booking.rider_key
        if refused is not None:
            metrics.count_decision(refused.code)
            if not self._admission.may_look_up(rider_key, refused):
                raise refused
            # A stored response is repeated even if the clock, the load or a provider would refuse the request today.
            return await self._tasks.run_shielded(
                self._repeat_response(rider_key, fingerprint_of(request), otherwise=refused)
            )
        fingerprint = fingerprint_of(request)
        rider_waits = self._admission.rider_waits(transition.booking.plan, transition.requests)
        end_insert = self._admission.load_shedder.begin_insert(rider_key, rider_waits=rider_waits)
        stored = asyncio.Event()
        serving = self._tasks.start(self._serve(transition, fingerprint, trace, now, end_insert, stored=stored))
        await asyncio.wait({serving}, timeout=RESPONSE_TIMEOUT_S)
        if serving.done():
            response = serving.result()
        else:
            serving.add_done_callback(log_error)
            if not stored.is_set():
                raise response_timeout()
            response = response_of(transition.booking)
        self._response_times.record(plan, arrived_s)
        return response

    def _check_admission(self, request: BookingRequest, transition: BookingTransition, now: datetime) -> Problem | None:
        settings = self._settings
        refused = validate(
            request, now, allow_plan_override=settings.allow_plan_override, callback_hosts=settings.rider_callback_hosts
        )
        return refused or self._admission.refusal(
            transition.booking.rider_key, transition.booking.plan, transition.requests
        )

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
        response = None if self._admission.rider_waits(booking.plan, transition.requests) else response_of(booking)
        record = IdempotencyRecord(
            key=booking.rider_key, booking_id=booking.id, fingerprint=fingerprint, created_at=now, response=response
        )
        await self._gateway.execute(
            CreateBooking(transition, record),
            MessageContext(booking.id, booking.plan, trace, now),
            on_committed=stored.set,
        )
        metrics.count_decision(metrics.ADMITTED)
        self._admission.recent_keys.add(booking.rider_key)
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
            raise key_reused()
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


def log_error(serving: asyncio.Task[Any]) -> None:
    """Log the error of a booking whose rider has been answered already."""
    if not serving.cancelled() and (error := serving.exception()):
        log.warning("booking failed after its response", error=error_summary(error))


def response_timeout() -> Problem:
    """Return the refusal of a request that could not be stored in time."""
    return retry_later_problem(503, "response_timeout", "the booking takes longer than usual", RETRY_AFTER_TIMEOUT_S)


def fingerprint_of(request: msgspec.Struct) -> bytes:
    """SHA-256 of the decoded request in its one form; how its JSON is written does not matter."""
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).digest()


def ride_of(request: RideRequest, rider_id: str, report_url: str | None = None) -> Ride:
    """Return the requested ride."""
    return Ride(
        rider_id=rider_id,
        pickup=request.pickup,
        dropoff=request.dropoff,
        pickup_at=request.pickup_at,
        vehicle_class=request.vehicle_class,
        passengers=request.passengers,
        report_url=report_url,
    )


def _new_booking(key: str, request: BookingRequest, plan: Plan, now: datetime) -> Booking:
    return Booking(
        id=sortable_id("bk_", now),
        key=key,
        ride=ride_of(request, request.rider_id, request.callback_url),
        plan=plan,
        history=(StateChange(state=BookingState.REQUESTED, at=now),),
    )


def sortable_id(prefix: str, now: datetime) -> str:
    """Return an id of milliseconds and a random part, so that ids sort by age, as in a UUIDv7.

    Index pages fill in order.
    """
    return f"{prefix}{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"


def key_reused() -> Problem:
    """Return the refusal of a key that belongs to an earlier request with another body."""
    return Problem(422, "idempotency_key_reused", "this key was used with another body; use a new key")


def _key_used() -> Problem:
    detail = f"a booking of more than {RETENTION_S // DAY_S:.0f} days ago has this key; use a new one"
    return Problem(422, "idempotency_key_used", detail)


def _in_progress() -> Problem:
    detail = "the first request with this key is still running; try again"
    return Problem(409, "request_in_progress", detail, headers={"retry-after": "1"})
