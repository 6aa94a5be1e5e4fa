"""Makes each request at its intended time, whatever became of the ones before (an open loop)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec

from prebook.lab.load import samples
from prebook.lab.load.gc_pause import pause_gc
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import PlannedRequest
from prebook.lab.load.retry_policy import NO_RETRIES, RiderRetryPolicy, parse_refusal
from prebook.lab.load.rides import booking_request, nth_ride
from prebook.lab.load.samples import RefusalSample, Sample

REQUEST_TIMEOUT_S = 10.0
MAX_LAG_MS = 250.0
"""Default limit of the lag at p99; later than that, the result is the generator's and is invalid."""


class BookingReference(msgspec.Struct, frozen=True):
    """What the generator needs of a booking's body."""

    id: str


@dataclass(frozen=True)
class ClockOrigin:
    """The same instant on two clocks: latencies are taken from the monotonic one, reconciliation from the wall."""

    monotonic: float
    wall: datetime

    @classmethod
    def now(cls) -> "ClockOrigin":
        return cls(asyncio.get_running_loop().time(), datetime.now(UTC))

    def shifted(self, by_s: float) -> "ClockOrigin":
        return ClockOrigin(self.monotonic + by_s, self.wall_at(by_s))

    async def wait_until(self, offset_s: float) -> None:
        await asyncio.sleep(max(0.0, self.monotonic + offset_s - asyncio.get_running_loop().time()))

    def wall_at(self, offset_s: float) -> datetime:
        return self.wall + timedelta(seconds=offset_s)

    def offset_s(self, moment: datetime) -> float:
        """Seconds from this instant to ``moment``."""
        return (moment - self.wall).total_seconds()


@dataclass(frozen=True)
class PreparedRequest:
    """A request made ready beforehand, so that the moment of sending costs as little as possible."""

    planned: PlannedRequest
    key: str
    body: bytes


@dataclass(frozen=True)
class BookingResponse:
    status: int | None = None
    error: str | None = None
    booking_id: str | None = None
    body: bytes = b""
    """Of a refusal."""
    retry_after: str | None = None


@dataclass(frozen=True)
class RequestResult:
    """How the last of a rider's visits ended, from the intended moment of the first."""

    response: BookingResponse
    took_s: float
    refusals: tuple[RefusalSample, ...]


def prepare_requests(
    planned: Sequence[PlannedRequest], *, run_id: str, scenario: str, seed: int, week: datetime
) -> tuple[PreparedRequest, ...]:
    encode = msgspec.json.Encoder().encode
    return tuple(
        PreparedRequest(
            offer,
            samples.idempotency_key(run_id, scenario, offer.label, offer.ride),
            encode(booking_request(nth_ride(seed, offer.ride, week), PLANS[offer.label])),
        )
        for offer in planned
    )


def open_session(timeout_s: float = REQUEST_TIMEOUT_S) -> aiohttp.ClientSession:
    """No limit on connections: a generator that waits for a free one would be a closed loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
    )


class Generator:
    """Offers the orders of one scenario and keeps a sample of each, in the order of their completion."""

    def __init__(
        self, session: aiohttp.ClientSession, booking_url: str, scenario: str, retries: RiderRetryPolicy = NO_RETRIES
    ) -> None:
        self._session = session
        self._url = f"{booking_url}/v1/bookings"
        self._scenario = scenario
        self._retries = retries
        self.sent = 0
        self.samples: list[Sample] = []

    async def offer(self, orders: Sequence[PreparedRequest], origin: ClockOrigin) -> Sequence[Sample]:
        """Returns when the last request is answered or has timed out."""
        with pause_gc():
            async with asyncio.TaskGroup() as requests:
                for order in orders:
                    await origin.wait_until(order.planned.at_s)
                    self.sent += 1
                    requests.create_task(self._send(order, origin))
        return self.samples

    async def _send(self, request: PreparedRequest, origin: ClockOrigin) -> None:
        lag_s = self._elapsed_s(request, origin)
        visited = await self._send_with_retries(request, origin)
        self.samples.append(self._build_sample(request, origin, visited, lag_s))

    def _elapsed_s(self, request: PreparedRequest, origin: ClockOrigin) -> float:
        """Seconds from the intended moment."""
        return asyncio.get_running_loop().time() - origin.monotonic - request.planned.at_s

    async def _send_with_retries(self, request: PreparedRequest, origin: ClockOrigin) -> RequestResult:
        """Until the rider is taken in, fails, or goes away for good."""
        refusals: list[RefusalSample] = []
        while True:
            reply = await self._post(request)
            took_s = self._elapsed_s(request, origin)
            if reply.status in samples.REFUSED_STATUSES:
                refusals.append(parse_refusal(reply.status, took_s, reply.retry_after, reply.body))
            pause_s = self._retries.delay_s(reply.status, refusals)
            if pause_s is None:
                return RequestResult(reply, took_s, tuple(refusals))
            await asyncio.sleep(pause_s)

    async def _post(self, request: PreparedRequest) -> BookingResponse:
        headers = {"Idempotency-Key": request.key, "Content-Type": "application/json"}
        try:
            async with self._session.post(self._url, data=request.body, headers=headers) as response:
                return parse_response(response.status, await response.read(), response.headers.get("Retry-After"))
        except TimeoutError:
            return BookingResponse(error="timeout")
        except aiohttp.ClientError:
            return BookingResponse(error="connection")

    def _build_sample(
        self, request: PreparedRequest, origin: ClockOrigin, result: RequestResult, lag_s: float
    ) -> Sample:
        reply = result.response
        return Sample(
            scenario=self._scenario,
            label=request.planned.label,
            ride=request.planned.ride,
            key=request.key,
            intended_at=origin.wall_at(request.planned.at_s),
            lag_ms=lag_s * 1e3,
            status=reply.status,
            error=reply.error,
            response_ms=None if reply.status is None else result.took_s * 1e3,
            booking_id=reply.booking_id,
            refusals=result.refusals,
        )


def parse_response(status: int, body: bytes, retry_after: str | None = None) -> BookingResponse:
    if status not in samples.ACCEPTED_STATUSES:
        return BookingResponse(status=status, body=body, retry_after=retry_after)
    try:
        return BookingResponse(status=status, booking_id=msgspec.json.decode(body, type=BookingReference).id)
    except msgspec.DecodeError:
        return BookingResponse(status=status, error="unreadable")
