"""Open-loop load generator: sends each request at its intended time, regardless of earlier responses."""

import asyncio
import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec

from prebook.contracts.plan import Coupling
from prebook.lab.load import samples
from prebook.lab.load.gc_pause import pause_gc
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import PlannedRequest
from prebook.lab.load.retry_policy import NO_RETRIES, RiderRetryPolicy, parse_problem, parse_refusal
from prebook.lab.load.rides import booking_request, nth_ride
from prebook.lab.load.samples import RefusalSample, Sample

REQUEST_TIMEOUT_S = 10.0
MAX_LAG_MS = 250.0
"""Default limit of the p99 lag; beyond it the generator, not the suite, determines the result, which is invalid."""


class Fare(msgspec.Struct, frozen=True):
    """The part of a fare that the generator reads."""

    cents: int


class BookingReference(msgspec.Struct, frozen=True):
    """The part of a booking response that the generator reads."""

    id: str
    state: str | None = None
    fare: Fare | None = None


@dataclass(frozen=True)
class ClockOrigin:
    """One instant on two clocks: latencies use the monotonic clock, reconciliation uses the wall clock."""

    monotonic: float
    wall: datetime

    @classmethod
    def now(cls) -> "ClockOrigin":
        """Return the current instant."""
        return cls(asyncio.get_running_loop().time(), datetime.now(UTC))

    def shifted(self, by_s: float) -> "ClockOrigin":
        """Return the instant ``by_s`` seconds later."""
        return ClockOrigin(self.monotonic + by_s, self.wall_at(by_s))

    async def wait_until(self, offset_s: float) -> None:
        """Sleep until ``offset_s`` seconds after this instant."""
        await asyncio.sleep(max(0.0, self.monotonic + offset_s - asyncio.get_running_loop().time()))

    def wall_at(self, offset_s: float) -> datetime:
        """Return the wall-clock time ``offset_s`` seconds after this instant."""
        return self.wall + timedelta(seconds=offset_s)

    def offset_s(self, moment: datetime) -> float:
        """Return seconds from this instant to ``moment``."""
        return (moment - self.wall).total_seconds()


@dataclass(frozen=True)
class PreparedRequest:
    """A request with its body encoded in advance, so that sending it costs little CPU time."""

    planned: PlannedRequest
    key: str
    body: bytes


@dataclass(frozen=True)
class BookingResponse:
    """Response to a booking request: a status, or the kind of a transport error."""

    status: int | None = None
    error: str | None = None
    booking_id: str | None = None
    state: str | None = None
    """State of the booking, as the response names it."""
    fare_cents: int | None = None
    """Fare of the booking, as the response names it."""
    body: bytes = b""
    """Body of a response that did not accept the booking."""
    error_name: str = ""
    """Name of the transport's error."""
    retry_after: str | None = None


@dataclass(frozen=True)
class RequestResult:
    """Result of a rider's last attempt; ``took_s`` counts from the intended time of the first attempt."""

    response: BookingResponse
    took_s: float
    refusals: tuple[RefusalSample, ...]


def prepare_requests(
    planned: Sequence[PlannedRequest],
    *,
    run_id: str,
    scenario: str,
    seed: int,
    week: datetime,
    callback_url: str | None = None,
    plans: Mapping[str, Mapping[str, Coupling]] = PLANS,
) -> tuple[PreparedRequest, ...]:
    """Return encoded requests with their idempotency keys; the rides follow from ``seed`` and ``week``.

    ``callback_url``: URL of the riders' system, which is told every outcome. ``plans``: plan by label.
    """
    encode = msgspec.json.Encoder().encode
    return tuple(
        PreparedRequest(
            request,
            samples.idempotency_key(run_id, scenario, request.label, request.ride),
            encode(booking_request(nth_ride(seed, request.ride, week), plans[request.label], callback_url)),
        )
        for request in planned
    )


def open_session(timeout_s: float = REQUEST_TIMEOUT_S) -> aiohttp.ClientSession:
    """Open an HTTP session without a connection limit: waiting for a free connection would make a closed loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
    )


class Generator:
    """Sends the requests of one scenario and keeps a sample of each, in order of completion."""

    def __init__(
        self, session: aiohttp.ClientSession, booking_url: str, scenario: str, retries: RiderRetryPolicy = NO_RETRIES
    ) -> None:
        self._session = session
        self._url = f"{booking_url}/v1/bookings"
        self._scenario = scenario
        self._retries = retries
        self.sent = 0
        self.samples: list[Sample] = []

    async def offer(self, requests: Sequence[PreparedRequest], origin: ClockOrigin) -> Sequence[Sample]:
        """Send all requests at their times after ``origin``; return the samples once every rider is done."""
        with pause_gc():
            async with asyncio.TaskGroup() as tasks:
                for request in requests:
                    await origin.wait_until(request.planned.at_s)
                    self.sent += 1
                    tasks.create_task(self.send(request, origin))
        return self.samples

    def take_samples(self) -> list[Sample]:
        """Return the samples since the last call, and forget them."""
        taken = self.samples
        self.samples = []
        return taken

    async def send(self, request: PreparedRequest, origin: ClockOrigin) -> None:
        """Send one request now, repeat it as its rider would, and keep its sample."""
        lag_s = self._elapsed_s(request, origin)
        result = await self._send_with_retries(request, origin)
        self.samples.append(self._build_sample(request, origin, result, lag_s))

    def _elapsed_s(self, request: PreparedRequest, origin: ClockOrigin) -> float:
        """Return seconds since the intended time of the request."""
        return asyncio.get_running_loop().time() - origin.monotonic - request.planned.at_s

    async def _send_with_retries(self, request: PreparedRequest, origin: ClockOrigin) -> RequestResult:
        """Send the request until it is accepted, fails, or the rider stops retrying."""
        refusals: list[RefusalSample] = []
        while True:
            response = await self._post(request)
            took_s = self._elapsed_s(request, origin)
            if response.status in samples.REFUSED_STATUSES:
                refusals.append(parse_refusal(response.status, took_s, response.retry_after, response.body))
            delay_s = self._retries.delay_s(response.status, refusals)
            if delay_s is None:
                return RequestResult(response, took_s, tuple(refusals))
            await asyncio.sleep(delay_s)

    async def _post(self, request: PreparedRequest) -> BookingResponse:
        headers = {"Idempotency-Key": request.key, "Content-Type": "application/json"}
        try:
            async with self._session.post(self._url, data=request.body, headers=headers) as response:
                return parse_response(response.status, await response.read(), response.headers.get("Retry-After"))
        except TimeoutError as error:
            return BookingResponse(error="timeout", error_name=type(error).__name__)
        except (aiohttp.ClientError, OSError) as error:
            return BookingResponse(error=transport_error_kind(error), error_name=transport_error_name(error))

    def _build_sample(
        self, request: PreparedRequest, origin: ClockOrigin, result: RequestResult, lag_s: float
    ) -> Sample:
        response = result.response
        return Sample(
            scenario=self._scenario,
            label=request.planned.label,
            ride=request.planned.ride,
            key=request.key,
            intended_at=origin.wall_at(request.planned.at_s),
            lag_ms=lag_s * 1e3,
            status=response.status,
            error=response.error,
            reason=failure_reason(response),
            response_ms=None if response.status is None else result.took_s * 1e3,
            booking_id=response.booking_id,
            named_state=response.state,
            named_fare_cents=response.fare_cents,
            refusals=result.refusals,
        )


def transport_error_kind(error: Exception) -> str:
    """Return the kind of a failed exchange, as a sample names it."""
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        return samples.OUT_OF_DESCRIPTORS
    return "connection"


def transport_error_name(error: Exception) -> str:
    """Return the name of a transport's error, such as ``ConnectionRefusedError``."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return type(cause).__name__


def failure_reason(response: BookingResponse) -> str:
    """Return why a request was neither accepted nor refused; empty if it was."""
    if response.error_name or response.status is None:
        return response.error_name
    is_known = response.status in samples.ACCEPTED_STATUSES | samples.REFUSED_STATUSES
    return "" if is_known else parse_problem(response.body).code


def parse_response(status: int, body: bytes, retry_after: str | None = None) -> BookingResponse:
    """Return the response; an accepted booking without a readable id has the error ``unreadable``."""
    if status not in samples.ACCEPTED_STATUSES:
        return BookingResponse(status=status, body=body, retry_after=retry_after)
    try:
        booking = msgspec.json.decode(body, type=BookingReference)
    except msgspec.DecodeError:
        return BookingResponse(status=status, error="unreadable")
    fare_cents = booking.fare.cents if booking.fare else None
    return BookingResponse(status=status, booking_id=booking.id, state=booking.state, fare_cents=fare_cents)
