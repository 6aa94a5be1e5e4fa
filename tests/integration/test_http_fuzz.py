"""Very many hostile HTTP requests to every listener of a running suite under load: the suite stays as it was."""

import asyncio
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import PROCESSES
from tests.booking.booking_suite import body
from tests.conditions import poll_until
from tests.conftest import Figure, run_suite
from tests.http.hostile_client import read_statuses, send
from tests.http.request_fuzzer import RequestFuzzer
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe
from tests.integration.footprint import Footprint, count_half_closed, watch_readiness
from tests.integration.logs import read_lines
from tests.integration.ride_offers import offer_rides
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
SEED = int(os.environ.get("FUZZ_SEED", "1"))
COUNT = int(os.environ.get("FUZZ_REQUESTS", "2000"))
CLIENTS = 64
PATIENCE_S = 0.3
"""Seconds that a client waits for another byte before it gives up: half requests would get theirs after ten."""
ROUND = 256
"""Requests that are sent before the services must have served those of the round before."""
WARM_UP = 0.2
"""Share of the requests after which memory and series are measured for the first time."""
CLOSE_TIMEOUT_S = 60.0
"""Longer than a head or a body may take."""
PLANS = [uniform_plan(coupling) for coupling in Coupling]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite of its own, whose logs and metrics are those of the hostile requests."""
    with run_suite(tmp_path_factory.mktemp("fuzzed") / "home") as suite:
        yield suite


def choose_ports(suite: Suite) -> Sequence[int]:
    """Return the ports of all listeners of riders, operators and services; every second one is that of riders."""
    urls = (*suite.state.urls.values(), *suite.state.internal_urls.values())
    riders = urlsplit(suite.state.urls["booking"]).port
    return [port for url in urls for port in (riders, urlsplit(url).port) if port]


def request_body() -> bytes:
    """Return the body of a valid booking, as long as that of the fuzzer."""
    pickup_at = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%dT08:07:00Z")
    return msgspec.json.encode(body(pickup_at=pickup_at))


async def send_all(fuzzer: RequestFuzzer, targets: Sequence[int], count: int) -> Counter[int]:
    """Send cases in rounds, by CLIENTS at a time; return the statuses. Raises AssertionError at an unhandled error."""
    statuses: Counter[int] = Counter()

    async def run_client(numbers: Iterator[int]) -> None:
        for number in numbers:
            case = fuzzer.next_case()
            reception = await send(targets[number % len(targets)], case, PATIENCE_S)
            statuses.update(read_statuses(case, reception.data))

    for first in range(0, count, ROUND):
        numbers = iter(range(first, min(first + ROUND, count)))
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(run_client(numbers))
        await wait_until_served(set(targets))
    return statuses


async def wait_until_served(targets: Collection[int]) -> None:
    """Wait until every listener answers a new connection, and so has read what came before."""
    async with httpx.AsyncClient(timeout=CLOSE_TIMEOUT_S, trust_env=False) as http:
        for port in targets:
            assert (await http.get(f"http://127.0.0.1:{port}/livez")).status_code == 200


def error_lines(suite: Suite) -> list[tuple[str, str]]:
    return [
        (service, str(line)[:500])
        for service in PROCESSES
        for line in read_lines(suite, service)
        if line["level"] in {"error", "critical"}
    ]


@pytest.mark.timeout(180 + COUNT / 25)
async def test_hostile_requests_leave_a_suite_under_load_as_it_was(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, control: ControlClient, figure: Figure
) -> None:
    fuzzer = RequestFuzzer(SEED, request_body())
    processes = {name: info.pid for name, info in (await control.list_processes()).items()}
    await database.verify_bookings(await rider.prebook_all(PLANS))  # gives the services the series of every coupling
    async with watch_readiness(suite) as answers, offer_rides(rider, PLANS) as offers:
        first = int(WARM_UP * COUNT)
        statuses = await send_all(fuzzer, choose_ports(suite), first)
        before = await Footprint.read(suite)
        statuses += await send_all(fuzzer, choose_ports(suite), COUNT - first)

    async def are_all_closed() -> bool:
        return not any([count_half_closed(await control.read_pid(name)) for name in PROCESSES])

    await poll_until(are_all_closed, CLOSE_TIMEOUT_S, interval_s=0.5)
    states = await database.verify_bookings(offers.ids)
    after = await Footprint.read(suite)
    for line in (
        f"statuses {dict(sorted(statuses.items()))}",
        f"rides meanwhile: {dict(Counter(states.values()))}, {len(offers.refusals)} refused",
        f"answers of /readyz: {dict(Counter(status for _, status in answers.elements()))}",
        *after.describe_growth(before),
    ):
        figure(f"seed {SEED}, {COUNT:,} requests: {line}")
    assert {200, 202, 400, 404, 405, 417, 501, 505} <= statuses.keys()
    assert {status for _, status in answers} == {200}
    assert set(states.values()) == {"confirmed"}
    assert not offers.refusals
    assert error_lines(suite) == []
    assert {name: info.pid for name, info in (await control.list_processes()).items()} == processes
    after.verify_growth(before)
