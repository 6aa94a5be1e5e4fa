"""Use case: a rider books a trip. An Idempotency-Key creates one trip with all of its legs, in one transaction.

The response is known before the trip is stored, because legs are settled later, whatever their couplings. It is stored
with the trip, so a repeated request never finds the first one half done: it waits for it and gets the same response.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from prebook.booking import metrics
from prebook.booking.domain.booking import RiderKey
from prebook.booking.domain.trip import TRIP_ID_PREFIX, Trip
from prebook.booking.load_shedding.campaign_tokens import CampaignTokens
from prebook.booking.process import BookingTransition
from prebook.booking.store import BookingWork, DuplicateKey, TripRecord
from prebook.booking.trip_process import split_trip
from prebook.booking.use_cases.admission import Admission
from prebook.booking.use_cases.book import (
    RESPONSE_TIMEOUT_S,
    fingerprint_of,
    key_reused,
    log_error,
    response_timeout,
    ride_of,
    sortable_id,
)
from prebook.booking.use_cases.switches import Switches
from prebook.booking.use_cases.validation import validate_trip
from prebook.booking.views import trip_view_of
from prebook.contracts.plan import Plan
from prebook.contracts.trip import TripState, TripStateChange
from prebook.contracts.trip_http import TripRequest
from prebook.flows import Request
from prebook.http.problems import Problem
from prebook.messaging.handlers import HandlerContext, HandlerFunction, HandlerResult
from prebook.messaging.staging import MessageContext
from prebook.patterns.aggregator import Aggregate
from prebook.patterns.trace import TraceContext
from prebook.runtime.service import ServiceContext


@dataclass(frozen=True, slots=True)
class CreateTrip:
    """Command: store a new trip with its legs under its Idempotency-Key, and send the first requests of all legs."""

    trip: Trip
    legs: Sequence[BookingTransition]
    record: TripRecord


def create_trip(tokens: CampaignTokens) -> HandlerFunction[BookingWork]:
    """Handler of CreateTrip; it raises Problem if the campaign window has no token left for one of the legs."""

    async def handle(_: HandlerContext, command: CreateTrip, work: BookingWork) -> HandlerResult:
        await work.create_trip(command.trip, [leg.booking for leg in command.legs], command.record)
        for _leg in command.legs:
            await tokens.take(work, command.trip.rider_key)
        return HandlerResult(requests=_requests(command.legs))

    return handle


class BookTrip:
    """Admission of a request for a trip: refusal, new trip, or the stored response of an earlier request."""

    def __init__(self, context: ServiceContext[BookingWork], admission: Admission, switches: Switches) -> None:
        self._context = context
        self._admission = admission
        self._switches = switches

    async def book(self, key: str, request: TripRequest, trace: TraceContext) -> TripRecord:
        """Serve a request with this Idempotency-Key; return the trip's id and the response, whose status is 202.

        Work that has begun is completed even if the rider disconnects. Raises Problem if the request is refused.
        """
        now = self._context.clock()
        plan = {**await self._switches.default_plan(), **(request.couplings or {})}
        trip = _new_trip(key, request, plan, now)
        rides = [ride_of(leg, trip.rider_id) for leg in request.legs]
        legs = split_trip(trip, rides, names_rider=self._context.settings.enriches_fares)
        refused = self._validate(request, now) or self._admission.refusal(trip.rider_key, plan, _requests(legs))
        if refused is not None:
            metrics.count_decision(refused.code)
            if not self._admission.may_look_up(trip.rider_key, refused):
                raise refused
            return await self._context.tasks.run_shielded(
                self._repeat_response(trip.rider_key, fingerprint_of(request), otherwise=refused)
            )
        response = msgspec.json.encode(trip_view_of(trip, [leg.booking for leg in legs]))
        record = TripRecord(trip_id=trip.id, fingerprint=fingerprint_of(request), response=response)
        return await self._create(CreateTrip(trip, legs, record), trace, now)

    def _validate(self, request: TripRequest, now: datetime) -> Problem | None:
        settings = self._context.settings
        return validate_trip(
            request, now, allow_plan_override=settings.allow_plan_override, callback_hosts=settings.rider_callback_hosts
        )

    async def _create(self, command: CreateTrip, trace: TraceContext, now: datetime) -> TripRecord:
        """Store the trip and respond after the commit; inline requests of the legs go on."""
        stored = asyncio.Event()
        end_insert = self._admission.load_shedder.begin_insert(command.trip.rider_key, rider_waits=False)
        serving = self._context.tasks.start(self._serve(command, trace, now, stored, end_insert))
        waiting = asyncio.ensure_future(stored.wait())
        await asyncio.wait({serving, waiting}, timeout=RESPONSE_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if serving.done():
            return serving.result()
        serving.add_done_callback(log_error)
        if stored.is_set():
            return command.record
        raise response_timeout()

    async def _serve(
        self,
        command: CreateTrip,
        trace: TraceContext,
        now: datetime,
        stored: asyncio.Event,
        end_insert: Callable[[], None],
    ) -> TripRecord:
        trip = command.trip
        try:
            await self._context.gateway.execute(
                command, MessageContext(trip.id, trip.plan, trace, now), on_committed=stored.set
            )
        except DuplicateKey:
            return await self._repeat_response(trip.rider_key, command.record.fingerprint, otherwise=response_timeout())
        finally:
            end_insert()
        metrics.count_decision(metrics.ADMITTED)
        self._admission.recent_keys.add(trip.rider_key)
        return command.record

    async def _repeat_response(self, key: RiderKey, fingerprint: bytes, *, otherwise: Problem) -> TripRecord:
        async with self._context.units.commands() as work:
            record = await work.find_trip_record(key)
        if record is None:
            raise otherwise
        if record.fingerprint != fingerprint:
            raise key_reused()
        return record


def _new_trip(key: str, request: TripRequest, plan: Plan, now: datetime) -> Trip:
    trip_id = sortable_id(TRIP_ID_PREFIX, now)
    first_pickup_s = (min(leg.pickup_at for leg in request.legs) - now).total_seconds()
    return Trip(
        id=trip_id,
        key=key,
        rider_id=request.rider_id,
        plan=plan,
        policy=request.policy,
        deadline_s=min(request.deadline_s, first_pickup_s),
        report_url=request.callback_url,
        legs=Aggregate(group_id=trip_id, size=len(request.legs)),
        history=(TripStateChange(state=TripState.REQUESTED, at=now),),
    )


def _requests(legs: Sequence[BookingTransition]) -> tuple[Request, ...]:
    return tuple(request for leg in legs for request in leg.requests)
