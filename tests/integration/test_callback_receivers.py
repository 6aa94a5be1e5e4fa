"""Callbacks to riders' systems that are away, ask for a pause, or are slow.

The suite of this module may call five systems on this machine, at ports that the test listens on when it wants to.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import pytest
from aiohttp import web

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import SETTLED_STATES
from prebook.patterns.retry import retry_schedule
from prebook.patterns.signature import verify
from tests.conditions import poll_until
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import POLICIES, Suite, start_suite
from tests.workers import port_base

pytestmark = [pytest.mark.real, pytest.mark.long]
SECRET = "a secret of the callbacks in this test"
NAMES = ("away", "pausing", "slow", "hanging", "fast")
HANGING_RIDES = 24
"""More rides than one system may be called for at a time."""
PAUSE_S = 4
SLOW_S = 5.0
"""Longer than a callback could take until now, shorter than the time for an answer."""
FORMER_POLICY_S = max(
    retry_schedule(max_attempts=policy.max_attempts, backoff_s=policy.backoff_s)[-1].at_s[1]
    for policy in POLICIES.values()
)
"""Seconds after which every attempt of a flow's policy is over."""


@dataclass
class RiderSystem:
    """A rider's system; ``answer`` makes its response from the number of earlier requests."""

    reserved: socket.socket
    """Bound to the port of the system, so that nothing else listens there before the system does."""
    received: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    """(monotonic time, message id, body) of each request."""
    statuses: tuple[int, ...] = ()
    """Status of each of the first requests; 204 afterwards."""
    retry_after: str = ""
    answers_after_s: float = 0.0
    answered: int = 0

    def __post_init__(self) -> None:
        self.port = self.reserved.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        message_id = verify([SECRET], request.headers, body, now_s=time.time())
        self.received.append((time.monotonic(), message_id, msgspec.json.decode(body)))
        number = len(self.received) - 1
        await asyncio.sleep(self.answers_after_s)
        self.answered += 1
        if number < len(self.statuses):
            return web.Response(status=self.statuses[number], headers={"retry-after": self.retry_after})
        return web.Response(status=204)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/{path:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self.reserved.close()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def wait_for(self, booking_id: str, outcome: str) -> dict[str, Any]:
        """Return the first report of this outcome that the system has received."""

        async def is_received() -> bool:
            return bool(self._reports(booking_id, outcome))

        await poll_until(is_received, 120)
        return self._reports(booking_id, outcome)[0]

    def _reports(self, booking_id: str, outcome: str) -> list[dict[str, Any]]:
        reports = [body for _, _, body in self.received]
        return [body for body in reports if (body["booking_id"], body["outcome"]) == (booking_id, outcome)]


@pytest.fixture(scope="module")
def systems() -> dict[str, RiderSystem]:
    first = port_base(len(NAMES))
    return {name: RiderSystem(_reserve(first + number)) for number, name in enumerate(NAMES)}


def _reserve(port: int) -> socket.socket:
    """Return a socket that is bound to the port and refuses connections."""
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", port))
    return reserved


@pytest.fixture(scope="module")
def calling_suite(tmp_path_factory: pytest.TempPathFactory, systems: dict[str, RiderSystem]) -> Iterator[Suite]:
    settings = {
        "PREBOOK_RIDER_CALLBACK_HOSTS": ",".join(system.url for system in systems.values()),
        "PREBOOK_RIDER_CALLBACK_SECRETS": SECRET,
    }
    with start_suite(settings, tmp_path_factory.mktemp("callbacks") / "home") as suite:
        yield suite


@pytest.fixture
async def rider(calling_suite: Suite) -> AsyncIterator[RiderClient]:
    async with httpx.AsyncClient(base_url=calling_suite.state.urls["booking"], timeout=30, trust_env=False) as http:
        yield RiderClient(http)


async def book(rider: RiderClient, system: RiderSystem) -> str:
    """Book a ride whose outcomes are reported to the system, and wait until it is confirmed."""
    booking_id = await rider.prebook(uniform_plan(Coupling.REQUEST_REPLY), callback_url=f"{system.url}/hook")

    async def is_settled() -> bool:
        return (await rider.fetch_view(booking_id)).state in SETTLED_STATES

    await poll_until(is_settled, 60)
    view = await rider.fetch_view(booking_id)
    assert view.state == "confirmed", view
    return booking_id


async def test_a_system_that_is_away_longer_than_a_flows_attempts_is_told_once(
    rider: RiderClient, systems: dict[str, RiderSystem]
) -> None:
    """The cancellation waits behind the confirmation, and the numbers tell which one is newer."""
    system = systems["away"]
    booking_id = await book(rider, system)
    assert (await rider.cancel(booking_id)).status_code == 200
    await asyncio.sleep(FORMER_POLICY_S + 1.0)  # duration of the outage
    async with system.listen():
        cancelled = await system.wait_for(booking_id, "cancelled")
    confirmed, *others = [body for _, _, body in system.received]

    assert others == [cancelled], "each outcome is delivered once, in order"
    assert (confirmed["outcome"], confirmed["booking_id"]) == ("confirmed", booking_id)
    assert confirmed["sequence"] < cancelled["sequence"]
    assert confirmed["occurred_at"] < cancelled["occurred_at"]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_that_a_system_asks_for_is_kept(
    rider: RiderClient, systems: dict[str, RiderSystem], status: int
) -> None:
    system = systems["pausing"]
    system.received.clear()
    system.statuses = (status,)
    system.retry_after = str(PAUSE_S)
    async with system.listen():
        booking_id = await book(rider, system)
        await poll_until(lambda: _has_received(system, 2), 60)
        (refused_at, first_id, first), (accepted_at, second_id, second) = system.received

    assert accepted_at - refused_at >= PAUSE_S
    assert (first_id, first) == (second_id, second)
    assert first["booking_id"] == booking_id


async def test_a_system_that_answers_after_five_seconds_gets_one_delivery(
    rider: RiderClient, systems: dict[str, RiderSystem]
) -> None:
    system = systems["slow"]
    system.answers_after_s = SLOW_S
    async with system.listen():
        booking_id = await book(rider, system)
        await poll_until(lambda: _has_answered(system, 1), 60)
        assert (await rider.cancel(booking_id)).status_code == 200
        await poll_until(lambda: _has_answered(system, 2), 60)

    assert [body["outcome"] for _, _, body in system.received] == ["confirmed", "cancelled"]


async def test_a_system_that_does_not_answer_delays_no_other(
    rider: RiderClient, systems: dict[str, RiderSystem]
) -> None:
    hanging, fast = systems["hanging"], systems["fast"]
    hanging.answers_after_s = 600.0
    async with hanging.listen(), fast.listen():
        for _ in range(HANGING_RIDES):
            await book(rider, hanging)
        for _ in range(3):
            await fast.wait_for(await book(rider, fast), "confirmed")
        assert (len(fast.received), hanging.answered) == (3, 0)


async def _has_answered(system: RiderSystem, count: int) -> bool:
    return system.answered >= count


async def _has_received(system: RiderSystem, count: int) -> bool:
    return len(system.received) >= count
