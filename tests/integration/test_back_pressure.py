"""From a provider that does not keep up to the rider: queue, outbox, admission control, Retry-After.

On a suite of its own, with limits so low that a few dozen rides reach them.
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
from tests.integration.rider_client import ACCEPTED_STATUSES, RiderClient, uniform_plan
from tests.integration.suite import POLICIES, Suite, start_suite

pytestmark = pytest.mark.real

MAX_PENDING_REQUESTS, MAX_OUTBOX_AGE_S, MAX_BROKER_BLOCKED_S, SHORT_QUEUE = 70, 3.0, 0.5, 2
QUEUE = addresses.request_queue("pricing", QUOTE_FARE.name)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    limits = {
        "PREBOOK_MAX_PENDING_REQUESTS": str(MAX_PENDING_REQUESTS),
        "PREBOOK_MAX_OUTBOX_AGE_S": str(MAX_OUTBOX_AGE_S),
        "PREBOOK_MAX_BROKER_BLOCKED_S": str(MAX_BROKER_BLOCKED_S),
    }
    with start_suite(limits, tmp_path_factory.mktemp("narrow") / "home") as suite:
        yield suite


@dataclass
class Crowd:
    """Riders who keep their key, and come back when they were told to."""

    rider: RiderClient
    coupling: Coupling
    ids: list[str] = field(default_factory=list)
    refused: list[tuple[str, float, httpx.Response]] = field(default_factory=list)
    """Key, when to come back (loop time), and what was said."""

    async def come(self, key: str) -> bool:
        response = await self.rider.post_booking(uniform_plan(self.coupling), key=key)
        if response.status_code in ACCEPTED_STATUSES:
            self.ids.append(response.json()["id"])
            return True
        assert (response.status_code, response.json()["code"]) == (503, "overloaded"), response.text
        back_at = asyncio.get_running_loop().time() + int(response.headers["retry-after"])
        self.refused.append((key, back_at, response))
        return False

    async def come_until_refused(self, refusals: int, *, interval_s: float = 0.02, most: int = 400) -> None:
        for _ in range(most):
            await self.come(uuid4().hex)
            if len(self.refused) >= refusals:
                return
            await asyncio.sleep(interval_s)
        raise AssertionError(f"nobody was refused among {most}")

    async def come_back(self) -> list[int]:
        """Everybody who was refused, until they are in; how many tries each needed, this one included."""
        waiting, self.refused = self.refused, []
        return await asyncio.gather(*(self._until_in(key, back_at) for key, back_at, _ in waiting))

    async def _until_in(self, key: str, back_at: float) -> int:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            for tries in count(1):
                await asyncio.sleep(max(0.0, back_at - loop.time()))
                if await self.come(key):
                    return tries
                back_at = next(at for name, at, _ in reversed(self.refused) if name == key)
        raise AssertionError("unreachable")


@dataclass
class Place:
    suite: Suite
    rider: RiderClient
    database: DatabaseProbe
    supervisor: httpx.AsyncClient

    async def metric(self, name: str) -> float:
        lines = (await self.rider.http.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    @asynccontextmanager
    async def without_pricing(self) -> AsyncIterator[None]:
        await self._tell("pause")
        try:
            yield
        finally:
            await self._tell("resume")

    async def blocked(self, for_s: float) -> None:
        """The broker takes nothing from whoever publishes, and says so (``connection.blocked``)."""
        await self._order("/servers/broker/alarm", duration_s=for_s)

    async def _tell(self, what: str) -> None:
        await self._order(f"/processes/pricing/{what}")

    async def _order(self, path: str, **how: float) -> None:
        answer = await self.supervisor.post(path, json=how)
        assert answer.status_code == 200, answer.text


@pytest.fixture
async def place(narrow: Suite) -> AsyncIterator[Place]:
    bearer = {"Authorization": f"Bearer {narrow.state.control_token}"}
    database = await asyncpg.connect(asyncpg_dsn(narrow.state.database_url))
    async with (
        httpx.AsyncClient(base_url=narrow.state.urls["booking"], timeout=30, trust_env=False) as http,
        httpx.AsyncClient(base_url=narrow.state.control_url, headers=bearer, trust_env=False) as supervisor,
    ):
        yield Place(narrow, RiderClient(http), DatabaseProbe(database), supervisor)
    await database.close()


@pytest.mark.parametrize("coupling", [Coupling.ONE_WAY, Coupling.REQUEST_REPLY, Coupling.ASYNC_API])
async def test_who_is_refused_comes_back_when_told_and_gets_in(place: Place, coupling: Coupling) -> None:
    crowd = Crowd(place.rider, coupling)
    async with place.without_pricing():
        await crowd.come_until_refused(15)
        assert len(crowd.ids) <= MAX_PENDING_REQUESTS * 1.25
        assert f"quote_fare_by_{coupling}" in crowd.refused[0][2].json()["detail"]
        await poll_until(lambda: _is(place, "prebook_pending_requests{", len(crowd.ids)))
    tries = await crowd.come_back()

    assert sum(n == 1 for n in tries) >= 0.8 * len(tries), tries
    _all_confirmed_or_rejected(await place.database.verify_bookings(crowd.ids))


async def test_a_full_queue_is_felt_at_the_edge(place: Place) -> None:
    """Queue full -> publishes refused -> the oldest row of the outbox grows old -> newcomers are refused."""
    crowd = Crowd(place.rider, Coupling.REQUEST_REPLY)
    async with _short_queue(place.suite):
        async with place.without_pricing():
            # What was answered before the pause must not be taken for the rate of what is asked now.
            await poll_until(lambda: _is(place, "prebook_replies_per_second{", 0))
            await _fill(crowd, POLICIES[QUOTE_FARE.name].prefetch + 8 * SHORT_QUEUE)
            await crowd.come_until_refused(1, interval_s=0.4, most=30)
            assert "outbox_age" in crowd.refused[0][2].json()["detail"]
            assert await place.metric("prebook_messages_send_failed_total") > 0
        tries = await crowd.come_back()
        assert max(tries) <= 3
        _all_confirmed_or_rejected(await place.database.verify_bookings(crowd.ids))


async def test_a_broker_that_takes_nothing_is_felt_at_the_edge(place: Place) -> None:
    """By those who need it, long before their questions have grown old."""
    crowd, caller = Crowd(place.rider, Coupling.REQUEST_REPLY), Crowd(place.rider, Coupling.SYNC_API)
    await place.blocked(for_s=4.0)
    await crowd.come_until_refused(1)
    assert "broker_blocked" in crowd.refused[0][2].json()["detail"]
    assert await caller.come(uuid4().hex), "a call needs no broker"
    assert max(await crowd.come_back()) <= 3
    _all_confirmed_or_rejected(await place.database.verify_bookings(crowd.ids))


async def _fill(crowd: Crowd, rides: int) -> None:
    assert all([await crowd.come(uuid4().hex) for _ in range(rides)])


async def _is(place: Place, metric: str, value: float) -> bool:
    return await place.metric(metric) == value


def _all_confirmed_or_rejected(states: object) -> None:
    assert isinstance(states, dict)
    assert set(states.values()) <= {"confirmed", "rejected"}, states


@asynccontextmanager
async def _short_queue(suite: Suite) -> AsyncIterator[None]:
    """An operator's limit, which the broker takes together with ours: the lower one counts."""
    where = suite.state
    path = f"/api/operator-policies/{addresses.VHOST}/short"
    body = {"pattern": f"^{QUEUE}$", "apply-to": "queues", "definition": {"max-length": SHORT_QUEUE}}
    access = (where.management_user, where.management_password)
    async with httpx.AsyncClient(base_url=where.management_url, auth=access, trust_env=False) as http:
        assert (await http.put(path, json=body)).status_code in (201, 204)
        try:
            yield
        finally:
            assert (await http.delete(path)).status_code == 204
