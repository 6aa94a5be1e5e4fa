"""`prebook pipe` on the running suite: rides reach the authority once, also when the pipe is killed on the way."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from prebook.contracts.ride import Place
from prebook.contracts.zone import zone_name
from tests.conditions import wait_until
from tests.integration.broker_probe import BrokerProbe
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.internal_client import open_internal_client
from tests.integration.rider_client import RiderClient
from tests.integration.suite import PREBOOK, Suite
from tests.listener import listen
from tests.world import ride

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
QUEUE = "city_feed.rides"
WAIT_S = 150.0


@dataclass
class Authority:
    """Receiver of the feed. ``answer`` decides the status of a push from its rides."""

    answer: Callable[[list[Any]], int] = lambda _: 204
    pushes: list[list[Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        rides = await request.json()
        status = self.answer(rides)
        if status < 300:
            self.pushes.append(rides)
        return web.Response(status=status)

    @property
    def rides(self) -> dict[str, Any]:
        return {ride["booking_id"]: ride for push in self.pushes for ride in push}


@asynccontextmanager
async def running_pipe(suite: Suite, url: str, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `prebook pipe run`, and kill it after the block if it still runs."""
    command = [*PREBOOK, "pipe", "run", url, "--json", *options]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=dict(suite.env), stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def report_of(process: asyncio.subprocess.Process) -> dict[str, int]:
    async with asyncio.timeout(WAIT_S):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    found: dict[str, int] = json.loads(output)
    return found


@pytest.fixture
async def feed(suite: Suite, broker: BrokerProbe) -> AsyncIterator[Authority]:
    """An authority, with the queue of the feed declared and empty; the queue is removed after the test."""
    authority = Authority()
    async with listen(authority.handle) as url, running_pipe(suite, url, "--drain") as process:
        assert await report_of(process) == {"filtered": 0, "delivered": 0, "parked": 0, "waiting": 0}
    yield authority
    removed = json.loads(suite.prebook("pipe", "remove", "--json").stdout)["removed"]
    assert removed == [f"queue {QUEUE}", f"policy {QUEUE}", "user prebook_city_feed"]
    done = suite.prebook("topology", "diff")
    assert done.returncode == 0, done.stdout


async def confirm_rides(rider: RiderClient, database: DatabaseProbe, count: int) -> list[str]:
    ids = [await rider.prebook() for _ in range(count)]
    assert all_in_state(await database.verify_bookings(ids), "confirmed")
    return ids


async def fleet_of(rider: RiderClient, booking_id: str) -> str:
    driver = (await rider.fetch_view(booking_id)).driver
    assert driver
    return driver.fleet


async def test_rides_wait_for_the_pipe_and_are_pushed_in_batches_with_their_zone(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, feed: Authority
) -> None:
    done = suite.prebook("topology", "diff")
    assert done.returncode == 0, done.stdout
    ids = await confirm_rides(rider, database, 6)
    async with (
        listen(feed.handle) as url,
        running_pipe(suite, url, "--batch-size", "3", "--parallelism", "1", "--drain") as process,
    ):
        report = await report_of(process)
    assert report == {"filtered": 0, "delivered": 6, "parked": 0, "waiting": 0}
    assert feed.rides.keys() == set(ids)
    assert max(map(len, feed.pushes)) <= 3
    view = await rider.fetch_view(ids[0])
    assert view.driver
    assert view.fare
    sent = feed.rides[ids[0]]
    assert sent.pop("details_age_s") >= 0
    assert sent.pop("id").startswith(ids[0])
    assert sent == {
        "booking_id": ids[0],
        "fleet": view.driver.fleet,
        "fare": {"cents": view.fare.cents, "currency": "EUR"},
        "pickup_zone": zone_name(Place(**ride()["pickup"])),
        "pickup_at": view.pickup_at.isoformat().replace("+00:00", "Z"),
        "vehicle_class": view.vehicle_class,
        "passengers": view.passengers,
        "details": "enriched",
    }


async def test_a_killed_pipe_loses_no_ride(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, feed: Authority
) -> None:
    ids = await confirm_rides(rider, database, 12)
    async with listen(feed.handle) as url:
        async with running_pipe(suite, url, "--batch-size", "1", "--rate", "4") as process:
            await wait_until(lambda: len(feed.pushes) >= 3, WAIT_S)
            process.kill()
        assert len(feed.rides) < 12
        async with running_pipe(suite, url, "--drain") as process:
            assert (await report_of(process))["waiting"] == 0
    assert feed.rides.keys() == set(ids)
    pushed_again = Counter(each["id"] for push in feed.pushes for each in push)
    assert len(pushed_again) == 12


async def test_filtered_and_refused_rides_are_counted_and_a_parked_one_can_be_repeated(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, feed: Authority, broker: BrokerProbe
) -> None:
    ids = await confirm_rides(rider, database, 8)
    fleets = {booking_id: await fleet_of(rider, booking_id) for booking_id in ids}
    refused = ids[0]
    wanted = {booking_id for booking_id, fleet in fleets.items() if fleet == fleets[refused]}
    feed.answer = lambda rides: 422 if any(each["booking_id"] == refused for each in rides) else 204
    async with listen(feed.handle) as url:
        async with running_pipe(suite, url, "--fleet", fleets[refused], "--drain") as process:
            report = await report_of(process)
        assert report == {"filtered": 8 - len(wanted), "delivered": len(wanted) - 1, "parked": 1, "waiting": 0}
        (parked,) = await broker.collect_parked(1)
        assert parked.headers["prebook-x-cause"] == "status_422"
        feed.answer = lambda _: 204
        event = ("--booking", refused, "--type", "prebook.booking_confirmed.v1")
        replay = ("archive", "replay", *event, "--to-queue", QUEUE, "--apply", "--json")
        assert json.loads(suite.prebook(*replay).stdout)["sent"] == 1
        async with running_pipe(suite, url, "--drain") as process:
            assert (await report_of(process))["delivered"] == 1
    assert feed.rides.keys() == wanted


async def test_only_the_console_may_read_a_ride(suite: Suite, rider: RiderClient, database: DatabaseProbe) -> None:
    (booking_id,) = await confirm_rides(rider, database, 1)
    async with open_internal_client(suite, "booking") as console:
        response = await console.get(f"/v1/rides/{booking_id}")
        assert response.status_code == 200
        assert response.json().keys() == {"pickup", "dropoff", "pickup_at", "vehicle_class", "passengers"}
        assert (await console.get("/v1/rides/bk_unknown")).json()["code"] == "no_such_booking"
    async with open_internal_client(suite, "booking", "pricing") as pricing:
        assert (await pricing.get(f"/v1/rides/{booking_id}")).status_code == 403
