"""Validation of requests for bookings and trips beyond the JSON schema: a pure decision."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TypeVar

import msgspec

from prebook.contracts.booking import BookingRequest, RideRequest
from prebook.contracts.trip_http import TripRequest
from prebook.flows import FLOWS
from prebook.http.callback_targets import is_allowed_target
from prebook.http.problems import FieldError, Problem

MAX_LEAD_TIME = timedelta(days=366)
R = TypeVar("R", BookingRequest, TripRequest)


def validate(
    request: BookingRequest, now: datetime, *, allow_plan_override: bool, callback_hosts: Collection[str]
) -> Problem | None:
    """Problem that refuses the request, or None if it is valid.

    ``allow_plan_override``: whether a request may bring its own couplings. ``callback_hosts``: hosts that a callback
    URL may name.
    """
    return _refusal(
        "invalid_booking",
        request,
        [*_ride_faults(request, now), *_order_faults(request, callback_hosts)],
        allow_plan_override=allow_plan_override,
    )


def validate_trip(
    request: TripRequest, now: datetime, *, allow_plan_override: bool, callback_hosts: Collection[str]
) -> Problem | None:
    """Problem that refuses the trip, or None if it is valid. Parameters: those of ``validate``."""
    faults = [
        FieldError(pointer=f"/legs/{index}{fault.pointer}", detail=fault.detail)
        for index, leg in enumerate(request.legs)
        for fault in _ride_faults(leg, now)
    ]
    faults += [
        FieldError(pointer=f"/legs/{index}/pickup_at", detail="is before the pickup of the previous leg; sort the legs")
        for index, (leg, following) in enumerate(pairwise(request.legs), 1)
        if following.pickup_at < leg.pickup_at
    ]
    faults += _order_faults(request, callback_hosts)
    return _refusal("invalid_trip", request, faults, allow_plan_override=allow_plan_override)


def with_rider(request: R, rider_id: str | None) -> R:
    """Return the request as one of ``rider_id``, or as it is if booking does not know who sends it.

    Raises Problem if the body names another rider, or if nothing names one.
    """
    if rider_id is None and not request.rider_id:
        fault = FieldError(pointer="/rider_id", detail="Object missing required field `rider_id`")
        raise Problem(422, "invalid_body", f"{fault.pointer}: {fault.detail}; see /schema/openapi.json", errors=[fault])
    if rider_id is None or request.rider_id == rider_id:
        return request
    if request.rider_id:
        raise Problem(403, "another_rider", "rider_id in the body is another rider; leave it out")
    return msgspec.structs.replace(request, rider_id=rider_id)


def _refusal(
    code: str, request: BookingRequest | TripRequest, faults: Sequence[FieldError], *, allow_plan_override: bool
) -> Problem | None:
    if request.couplings is not None and not allow_plan_override:
        return Problem(
            403, "plan_override_off", "leave out couplings, or start the suite with PREBOOK_ALLOW_PLAN_OVERRIDE=true"
        )
    detail = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults)
    return Problem(422, code, detail, errors=faults) if faults else None


def _ride_faults(request: RideRequest, now: datetime) -> Iterator[FieldError]:
    if request.pickup_at <= now:
        yield FieldError(pointer="/pickup_at", detail=f"is in the past; choose a time after {now:%Y-%m-%dT%H:%M:%SZ}")
    elif request.pickup_at > now + MAX_LEAD_TIME:
        yield FieldError(pointer="/pickup_at", detail="is more than a year ahead; choose an earlier time")
    if request.pickup == request.dropoff:
        yield FieldError(pointer="/dropoff", detail="is where the ride begins; choose another place")


def _order_faults(request: BookingRequest | TripRequest, callback_hosts: Collection[str]) -> Iterator[FieldError]:
    unknown = sorted((request.couplings or {}).keys() - FLOWS.keys())
    if unknown:
        yield FieldError(
            pointer="/couplings", detail=f"names the unknown flow {unknown[0]!r}; flows: {', '.join(FLOWS)}"
        )
    if request.callback_url is not None and not is_allowed_target(request.callback_url, callback_hosts):
        yield FieldError(
            pointer="/callback_url", detail="is not covered by PREBOOK_RIDER_CALLBACK_HOSTS; use a URL that is"
        )
