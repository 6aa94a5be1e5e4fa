"""Makes each request at its intended time, whatever became of the ones before (an open loop)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec

from prebook.lab.load import samples
from prebook.lab.load.gc_pause import undisturbed
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import Offer
from prebook.lab.load.retry_policy import NEVER, Returns, refusal
from prebook.lab.load.rides import booking_request, ride
from prebook.lab.load.samples import Refusal, Sample

REQUEST_TIMEOUT_S = 10.0


class Reference(msgspec.Struct, frozen=True):
    """What the generator needs of a booking's body."""

    id: str


@dataclass(frozen=True)
class Origin:
    """The same instant on two clocks: latencies are taken from the monotonic one, reconciliation from the wall."""

    monotonic: float
    wall: datetime

    @classmethod
    def now(cls) -> "Origin":
        return cls(asyncio.get_running_loop().time(), datetime.now(UTC))

    def later(self, by_s: float) -> "Origin":
        return Origin(self.monotonic + by_s, self.wall_at(by_s))

    async def wait_until(self, offset_s: float) -> None:
        await asyncio.sleep(max(0.0, self.monotonic + offset_s - asyncio.get_running_loop().time()))

    def wall_at(self, offset_s: float) -> datetime:
        return self.wall + timedelta(seconds=offset_s)


@dataclass(frozen=True)
class Order:
    """A request made ready beforehand, so that the moment of sending costs as little as possible."""

    offer: Offer
    key: str
    body: bytes


@dataclass(frozen=True)
class Reply:
    status: int | None = None
    error: str | None = None
    booking_id: str | None = None
    body: bytes = b""
    """Of a refusal."""
    retry_after: str | None = None


@dataclass(frozen=True)
class Visited:
    """How the last of a rider's visits ended, from the intended moment of the first."""

    reply: Reply
    took_s: float
    refusals: tuple[Refusal, ...]


def prepare(offers: Sequence[Offer], *, run: str, scenario: str, seed: int, week: datetime) -> tuple[Order, ...]:
    encode = msgspec.json.Encoder().encode
    return tuple(
        Order(
            offer,
            samples.key(run, scenario, offer.label, offer.ride),
            encode(booking_request(ride(seed, offer.ride, week), PLANS[offer.label])),
        )
        for offer in offers
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
        self, session: aiohttp.ClientSession, booking_url: str, scenario: str, returns: Returns = NEVER
    ) -> None:
        self._session = session
        self._url = f"{booking_url}/v1/bookings"
        self._scenario = scenario
        self._returns = returns
        self.sent = 0
        self.samples: list[Sample] = []

    async def offer(self, orders: Sequence[Order], origin: Origin) -> Sequence[Sample]:
        """Returns when the last request is answered or has timed out."""
        with undisturbed():
            async with asyncio.TaskGroup() as requests:
                for order in orders:
                    await origin.wait_until(order.offer.at_s)
                    self.sent += 1
                    requests.create_task(self._request(order, origin))
        return self.samples

    async def _request(self, order: Order, origin: Origin) -> None:
        lag_s = self._since(order, origin)
        visited = await self._visits(order, origin)
        self.samples.append(self._sample(order, origin, visited, lag_s))

    def _since(self, order: Order, origin: Origin) -> float:
        """Seconds from the intended moment."""
        return asyncio.get_running_loop().time() - origin.monotonic - order.offer.at_s

    async def _visits(self, order: Order, origin: Origin) -> Visited:
        """Until the rider is taken in, fails, or goes away for good."""
        refusals: list[Refusal] = []
        while True:
            reply = await self._post(order)
            took_s = self._since(order, origin)
            if reply.status in samples.REFUSED:
                refusals.append(refusal(reply.status, took_s, reply.retry_after, reply.body))
            pause_s = self._returns.pause_s(reply.status, refusals)
            if pause_s is None:
                return Visited(reply, took_s, tuple(refusals))
            await asyncio.sleep(pause_s)

    async def _post(self, order: Order) -> Reply:
        headers = {"Idempotency-Key": order.key, "Content-Type": "application/json"}
        try:
            async with self._session.post(self._url, data=order.body, headers=headers) as response:
                return read(response.status, await response.read(), response.headers.get("Retry-After"))
        except TimeoutError:
            return Reply(error="timeout")
        except aiohttp.ClientError:
            return Reply(error="connection")

    def _sample(self, order: Order, origin: Origin, visited: Visited, lag_s: float) -> Sample:
        reply = visited.reply
        return Sample(
            scenario=self._scenario,
            label=order.offer.label,
            ride=order.offer.ride,
            key=order.key,
            intended_at=origin.wall_at(order.offer.at_s),
            lag_ms=lag_s * 1e3,
            status=reply.status,
            error=reply.error,
            accept_ms=None if reply.status is None else visited.took_s * 1e3,
            booking_id=reply.booking_id,
            refusals=visited.refusals,
        )


def read(status: int, body: bytes, retry_after: str | None = None) -> Reply:
    if status not in samples.ACCEPTED:
        return Reply(status=status, body=body, retry_after=retry_after)
    try:
        return Reply(status=status, booking_id=msgspec.json.decode(body, type=Reference).id)
    except msgspec.DecodeError:
        return Reply(status=status, error="unreadable")
