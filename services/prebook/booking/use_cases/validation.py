"""Validation of booking requests beyond the JSON schema: a pure decision."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

import msgspec

from prebook.contracts.booking import BookingRequest
from prebook.flows import FLOWS
from prebook.http.callback_targets import is_allowed_target
from prebook.http.problems import FieldError, Problem

MAX_LEAD_TIME = timedelta(days=366)


def validate(
    request: BookingRequest, now: datetime, *, allow_plan_override: bool, callback_hosts: Collection[str]
) -> Problem | None:
    """Problem that refuses the request, or None if it is valid.

    ``allow_plan_override``: whether a request may bring its own couplings. ``callback_hosts``: hosts that a callback
    URL may name.
    """
    if request.couplings is not None and not allow_plan_override:
        return Problem(
            403, "plan_override_off", "leave out couplings, or start the suite with PREBOOK_ALLOW_PLAN_OVERRIDE=true"
        )
    faults = tuple(_faults(request, now, callback_hosts))
    detail = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults)
    return Problem(422, "invalid_booking", detail, errors=faults) if faults else None


def with_rider(request: BookingRequest, rider_id: str | None) -> BookingRequest:
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


def _faults(request: BookingRequest, now: datetime, callback_hosts: Collection[str]) -> Iterator[FieldError]:
    if request.pickup_at <= now:
        yield FieldError(pointer="/pickup_at", detail=f"is in the past; choose a time after {now:%Y-%m-%dT%H:%M:%SZ}")
    elif request.pickup_at > now + MAX_LEAD_TIME:
        yield FieldError(pointer="/pickup_at", detail="is more than a year ahead; choose an earlier time")
    if request.pickup == request.dropoff:
        yield FieldError(pointer="/dropoff", detail="is where the ride begins; choose another place")
    unknown = sorted((request.couplings or {}).keys() - FLOWS.keys())
    if unknown:
        yield FieldError(
            pointer="/couplings", detail=f"names the unknown flow {unknown[0]!r}; flows: {', '.join(FLOWS)}"
        )
    if request.callback_url is not None and not is_allowed_target(request.callback_url, callback_hosts):
        yield FieldError(
            pointer="/callback_url", detail="is not covered by PREBOOK_RIDER_CALLBACK_HOSTS; use a URL that is"
        )
