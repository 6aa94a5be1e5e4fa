"""Rotation of all secrets while rides run: no internal call is refused, and every callback has a valid signature."""

import asyncio
import operator
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from prebook.contracts.plan import Coupling
from prebook.devstack.key_ring import KeyRing, read_key_ring
from prebook.devstack.suite_state import read_suite_state
from prebook.flows import CONSOLE, OPERATIONS, PROCESSES
from prebook.http.signed_client import CallAuth
from prebook.patterns.signature import InvalidSignature, generate_secret, verify
from tests.conditions import poll_until
from tests.integration import logs
from tests.integration.metrics import read_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite, start_suite
from tests.workers import port_base

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
REFUSED_CALLS = "prebook_http_calls_refused_total"
MORE = 8
"""Callbacks of each phase of the rotation, at least."""
RELOAD_TIMEOUT_S = 30.0
PATIENCE_S = 120.0


@dataclass
class RiderSystem:
    """A rider's system, and the headers and bodies of the requests that it has received."""

    port: int
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((headers, await request.read()))
        return web.Response(status=204)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/{path:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield
        finally:
            await runner.cleanup()

    def is_signed(self, number: int, secret: str) -> bool:
        """Return whether a request is signed by ``secret``."""
        headers, body = self.requests[number]
        try:
            verify([secret], headers, body, now_s=time.time())
        except InvalidSignature:
            return False
        return True


@pytest.fixture(scope="module")
def system() -> RiderSystem:
    return RiderSystem(port_base(1))


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, system: RiderSystem) -> Iterator[Suite]:
    settings = {
        "PREBOOK_RIDER_CALLBACK_HOSTS": system.url,
        "PREBOOK_RIDER_CALLBACK_SECRETS": generate_secret(),
        "PREBOOK_BACK_PRESSURE": "off",
    }
    with start_suite(settings, tmp_path_factory.mktemp("rotation") / "home") as suite:
        yield suite


class CallbackRider(RiderClient):
    """Books rides whose outcomes are reported to the rider's system."""

    def __init__(self, http: httpx.AsyncClient, system: RiderSystem) -> None:
        super().__init__(http)
        self._system = system

    async def post_booking(self, plan: object = None, *, key: str = "", **changes: object) -> httpx.Response:
        return await super().post_booking(plan, key=key, callback_url=f"{self._system.url}/hook", **changes)  # type: ignore[arg-type]


async def change_keys(suite: Suite, *arguments: str) -> KeyRing:
    """Run `prebook keys`, wait until every service has reloaded its secrets, and return those in use."""
    before = {service: len(logs.find_lines(suite, service, event="secrets reloaded")) for service in PROCESSES}
    result = await asyncio.to_thread(suite.prebook, "keys", *arguments)
    assert result.returncode == 0, result.stderr

    async def all_have_reloaded() -> bool:
        return all(len(logs.find_lines(suite, s, event="secrets reloaded")) > before[s] for s in PROCESSES)

    await poll_until(all_have_reloaded, RELOAD_TIMEOUT_S)
    return read_ring(suite)


def read_ring(suite: Suite) -> KeyRing:
    return read_key_ring(Path(suite.state.secrets_dir))


Outcomes = list[tuple[Coupling, str]]
"""Coupling and final state of each ride."""


@asynccontextmanager
async def riding(rider: RiderClient) -> AsyncIterator[Outcomes]:
    """Book one ride after the other in every coupling, as fast as they are settled, while the block runs."""
    outcomes: Outcomes = []
    block_ended = asyncio.Event()

    async def ride_on(coupling: Coupling) -> None:
        while not block_ended.is_set():
            booking_id = await rider.prebook(uniform_plan(coupling))
            outcomes.append((coupling, await wait_for_outcome(rider, booking_id)))

    async with asyncio.TaskGroup() as rides:
        for coupling in Coupling:
            rides.create_task(ride_on(coupling))
        yield outcomes
        block_ended.set()


async def wait_for_more(outcomes: Outcomes, system: RiderSystem) -> None:
    """Wait until more rides of every coupling are settled, and outcomes reported."""
    rides, calls = Counter(coupling for coupling, _ in outcomes), len(system.requests)

    async def are_there() -> bool:
        now = Counter(coupling for coupling, _ in outcomes)
        return all(now[c] > rides[c] + 1 for c in Coupling) and len(system.requests) >= calls + MORE

    await poll_until(are_there, PATIENCE_S)


async def wait_for_outcome(rider: RiderClient, booking_id: str) -> str:
    """Wait until a booking is settled, and return its state."""

    async def is_settled() -> bool:
        return (await rider.fetch_view(booking_id)).settled

    await poll_until(is_settled, PATIENCE_S, interval_s=0.1)
    return (await rider.fetch_view(booking_id)).state


async def console_statuses(suite: Suite, secret: str, token: str) -> tuple[int, int]:
    """Return the statuses of an internal call and a call to operations with these credentials of the console."""
    auth = CallAuth(CONSOLE, (secret,), "booking")
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        ledger = await http.get(f"{suite.state.internal_urls['booking']}/v1/ledger", auth=auth)
        replays = await http.get(
            f"{suite.state.urls[OPERATIONS]}/v1/replays", headers={"authorization": f"Bearer {token}"}
        )
    return ledger.status_code, replays.status_code


async def test_a_rotation_refuses_no_call_and_signs_every_callback(suite: Suite, system: RiderSystem) -> None:
    old = read_ring(suite)
    async with (
        system.listen(),
        httpx.AsyncClient(base_url=suite.state.urls["booking"], timeout=30, trust_env=False) as http,
    ):
        rider = CallbackRider(http, system)
        async with riding(rider) as outcomes:
            await wait_for_more(outcomes, system)
            both = await change_keys(suite, "rotate", "--apply")
            await wait_for_more(outcomes, system)
            last_with_both = len(system.requests)
            new = await change_keys(suite, "retire", "--apply", "--min-age-s", "2")
            await wait_for_more(outcomes, system)

    assert {state for _, state in outcomes} == {"confirmed"}, Counter(outcomes)
    assert await read_counter(suite, REFUSED_CALLS) == 0

    (old_secret,) = old.rider_callbacks
    (new_secret,) = new.rider_callbacks
    assert both.rider_callbacks == (new_secret, old_secret)
    by_old = [system.is_signed(number, old_secret) for number in range(len(system.requests))]
    by_new = [system.is_signed(number, new_secret) for number in range(len(system.requests))]
    assert all(map(operator.or_, by_old, by_new)), "every callback has a valid signature"
    assert all(by_old[:last_with_both]), "who knows the old secret can verify until it is retired"
    assert by_new[last_with_both - 1], "who knows the new secret can verify before the old one is retired"
    assert all(by_new[last_with_both:])
    assert not any(by_old[-MORE // 2 :]), "a retired secret signs no more"

    assert await console_statuses(suite, new.signing[CONSOLE][0], new.console_tokens[0]) == (200, 200)
    assert await console_statuses(suite, old.signing[CONSOLE][0], old.console_tokens[0]) == (401, 401)
    state = read_suite_state(suite.home)
    assert (state.signing_secrets[CONSOLE], state.operator_token) == (new.signing[CONSOLE], new.console_tokens[0])
