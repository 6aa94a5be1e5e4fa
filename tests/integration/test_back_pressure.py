"""Back pressure from an overloaded provider to the rider: queue, outbox, admission control, Retry-After.

The suite of this module has limits so low that a few dozen rides reach them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from uuid import uuid4

import asyncpg
import httpx
import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import QUOTE_FARE
from prebook.messaging import addresses
from prebook.postgres.dsn import asyncpg_dsn
from tests.conditions import poll_until
from tests.integration.database_probe import DatabaseProbe
from tests.integration.internal_client import open_internal_client
from tests.integration.rider_client import ACCEPTED_STATUSES, RiderClient, uniform_plan
from tests.integration.suite import POLICIES, Suite, start_suite

pytestmark = [pytest.mark.real, pytest.mark.long]

MAX_PENDING_REQUESTS = 70
MAX_OUTBOX_AGE_S = 3.0
MAX_BROKER_BLOCKED_S = 0.5
QUEUE = addresses.request_queue("pricing", QUOTE_FARE.name)
MAX_QUEUE_LENGTH = 2


@pytest.fixture(scope="module")
def limited_suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    limits = {
        "PREBOOK_MAX_PENDING_REQUESTS": str(MAX_PENDING_REQUESTS),
        "PREBOOK_MAX_OUTBOX_AGE_S": str(MAX_OUTBOX_AGE_S),
        "PREBOOK_MAX_BROKER_BLOCKED_S": str(MAX_BROKER_BLOCKED_S),
    }
    with start_suite(limits, tmp_path_factory.mktemp("limited") / "home") as suite:
        yield suite


@dataclass(frozen=True)
class RefusedRequest:
    """A refused booking request; ``retry_at`` is the loop time that Retry-After names."""

    key: str
    retry_at: float
    response: httpx.Response

    @property
    def detail(self) -> str:
        return str(self.response.json()["detail"])


@dataclass
class RetryingRiders:
    """Riders with one coupling who retry with the same key at the time that Retry-After names."""

    client: RiderClient
    coupling: Coupling
    ids: list[str] = field(default_factory=list)
    refused: list[RefusedRequest] = field(default_factory=list)

    async def offer(self, key: str) -> bool:
        """Offer a ride and return whether it was accepted. The only other permitted response is 503 `overloaded`."""
        response = await self.client.post_booking(uniform_plan(self.coupling), key=key)
        if response.status_code in ACCEPTED_STATUSES:
            self.ids.append(response.json()["id"])
            return True
        assert (response.status_code, response.json()["code"]) == (503, "overloaded"), response.text
        retry_at = asyncio.get_running_loop().time() + int(response.headers["retry-after"])
        self.refused.append(RefusedRequest(key, retry_at, response))
        return False

    async def offer_until_refused(self, refusals: int, *, interval_s: float = 0.02, max_rides: int = 400) -> None:
        """Offer rides of new riders until ``refusals`` of them are refused."""
        for _ in range(max_rides):
            await self.offer(uuid4().hex)
            if len(self.refused) >= refusals:
                return
            await asyncio.sleep(interval_s)
        raise AssertionError(f"none of {max_rides} rides was refused")

    async def retry_refused(self) -> list[int]:
        """Retry every refused ride until it is accepted; return the number of retries of each."""
        waiting = self.refused
        self.refused = []
        return await asyncio.gather(*(self._retry_until_accepted(request) for request in waiting))

    async def _retry_until_accepted(self, request: RefusedRequest) -> int:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            for retries in count(1):
                await asyncio.sleep(max(0.0, request.retry_at - loop.time()))
                if await self.offer(request.key):
                    return retries
                request = next(refused for refused in reversed(self.refused) if refused.key == request.key)
        raise AssertionError("unreachable")


@dataclass
class LimitedSuite:
    """Clients of the suite with low limits."""

    suite: Suite
    rider: RiderClient
    database: DatabaseProbe
    supervisor: httpx.AsyncClient

    async def read_metric(self, name: str) -> float:
        """Return the sum of booking's samples whose name and labels begin with ``name``."""
        async with open_internal_client(self.suite, "booking") as http:
            lines = (await http.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    @asynccontextmanager
    async def pause_pricing(self) -> AsyncIterator[None]:
        """Pause the process of pricing while the block runs."""
        await self._command("/processes/pricing/pause")
        try:
            yield
        finally:
            await self._command("/processes/pricing/resume")

    async def block_publishers(self, duration_s: float) -> None:
        """Raise the broker's alarm: it accepts no publishes and reports that (``connection.blocked``)."""
        await self._command("/servers/broker/alarm", duration_s=duration_s)

    async def _command(self, path: str, **parameters: float) -> None:
        response = await self.supervisor.post(path, json=parameters)
        assert response.status_code == 200, response.text


@pytest.fixture
async def limited(limited_suite: Suite) -> AsyncIterator[LimitedSuite]:
    state = limited_suite.state
    bearer = {"Authorization": f"Bearer {state.control_token}"}
    connection = await asyncpg.connect(asyncpg_dsn(state.database_url))
    async with (
        httpx.AsyncClient(base_url=state.urls["booking"], timeout=30, trust_env=False) as http,
        httpx.AsyncClient(base_url=state.control_url, headers=bearer, trust_env=False) as supervisor,
    ):
        yield LimitedSuite(limited_suite, RiderClient(http), DatabaseProbe(connection), supervisor)
    await connection.close()


@pytest.mark.parametrize("coupling", [Coupling.ONE_WAY, Coupling.REQUEST_REPLY, Coupling.ASYNC_API])
async def test_most_refused_riders_are_accepted_on_their_first_retry(limited: LimitedSuite, coupling: Coupling) -> None:
    riders = RetryingRiders(limited.rider, coupling)
    async with limited.pause_pricing():
        await riders.offer_until_refused(15)
        assert len(riders.ids) <= MAX_PENDING_REQUESTS * 1.25
        assert f"quote_fare_by_{coupling}" in riders.refused[0].detail
        await poll_until(lambda: _is_metric(limited, "prebook_pending_requests{", len(riders.ids)))
    retries = await riders.retry_refused()

    assert sum(n == 1 for n in retries) >= 0.8 * len(retries), retries
    await _verify_confirmed_or_rejected(limited, riders.ids)


async def test_a_full_queue_refuses_new_rides(limited: LimitedSuite) -> None:
    """A full queue refuses publishes, the oldest outbox row grows old, and admission control refuses new rides."""
    riders = RetryingRiders(limited.rider, Coupling.REQUEST_REPLY)
    async with _limit_queue_length(limited.suite):
        async with limited.pause_pricing():
            # Replies from before the pause must not count as the present reply rate.
            await poll_until(lambda: _is_metric(limited, "prebook_replies_per_second{", 0))
            await _offer_accepted_rides(riders, POLICIES[QUOTE_FARE.name].prefetch + 8 * MAX_QUEUE_LENGTH)
            await riders.offer_until_refused(1, interval_s=0.4, max_rides=30)
            assert "outbox_age" in riders.refused[0].detail
            assert await limited.read_metric("prebook_messages_send_failed_total") > 0
        assert max(await riders.retry_refused()) <= 3
        await _verify_confirmed_or_rejected(limited, riders.ids)


async def test_a_blocked_broker_refuses_only_rides_that_need_it(limited: LimitedSuite) -> None:
    """The refusals begin long before requests in the outbox have grown old."""
    riders = RetryingRiders(limited.rider, Coupling.REQUEST_REPLY)
    synchronous_riders = RetryingRiders(limited.rider, Coupling.SYNC_API)
    await limited.block_publishers(duration_s=4.0)
    await riders.offer_until_refused(1)
    assert "broker_blocked" in riders.refused[0].detail
    assert await synchronous_riders.offer(uuid4().hex), "a synchronous call needs no broker"
    assert max(await riders.retry_refused()) <= 3
    await _verify_confirmed_or_rejected(limited, riders.ids)


async def _offer_accepted_rides(riders: RetryingRiders, count: int) -> None:
    assert all([await riders.offer(uuid4().hex) for _ in range(count)])


async def _is_metric(limited: LimitedSuite, name: str, value: float) -> bool:
    return await limited.read_metric(name) == value


async def _verify_confirmed_or_rejected(limited: LimitedSuite, ids: list[str]) -> None:
    states = await limited.database.verify_bookings(ids)
    assert set(states.values()) <= {"confirmed", "rejected"}, states


@asynccontextmanager
async def _limit_queue_length(suite: Suite) -> AsyncIterator[None]:
    """Limit pricing's queue by an operator policy. The broker merges it with the suite's; the lower limit counts."""
    state = suite.state
    path = f"/api/operator-policies/{addresses.VHOST}/short"
    body = {"pattern": f"^{QUEUE}$", "apply-to": "queues", "definition": {"max-length": MAX_QUEUE_LENGTH}}
    account = (state.management_user, state.management_password)
    async with httpx.AsyncClient(base_url=state.management_url, auth=account, trust_env=False) as http:
        assert (await http.put(path, json=body)).status_code in (201, 204)
        try:
            yield
        finally:
            assert (await http.delete(path)).status_code == 204
