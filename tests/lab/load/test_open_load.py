"""A load without an end: its arrivals, its counts, and changes while it runs."""

import asyncio
from collections import Counter
from itertools import islice, takewhile

import pytest

from prebook.control_room.load_contract import LoadPlan, LoadSettings, LoadShape
from prebook.lab.load.arrivals import ArrivalProcess
from prebook.lab.load.generator import Generator, open_session
from prebook.lab.load.open_load import OpenLoad, Tally, current_rate_per_s, endless_requests
from prebook.lab.load.plans import PLANS
from prebook.lab.load.samples import RefusalSample, Sample
from prebook.lab.load.stub_server import StubServerProtocol
from prebook.messaging.clock import utc_now
from tests.conditions import wait_until


def test_equal_settings_offer_equal_rides_at_equal_times() -> None:
    settings = LoadSettings(rate_per_s=10, plans=(LoadPlan.DEFAULT, LoadPlan.ONE_WAY))
    first, second = (list(islice(endless_requests(settings), 500)) for _ in range(2))
    assert first == second
    assert first != list(islice(endless_requests(LoadSettings(rate_per_s=10, seed=2)), 500))


def test_arrivals_go_on_beyond_a_period_in_ascending_order() -> None:
    settings = LoadSettings(rate_per_s=10, period_s=5)
    times = [each.at_s for each in islice(endless_requests(settings), 400)]
    assert times == sorted(times)
    assert times[-1] > 4 * settings.period_s
    assert len(times) / times[-1] == pytest.approx(10, rel=0.2)


def test_every_ride_is_offered_once_by_each_plan() -> None:
    plans = (LoadPlan.DEFAULT, LoadPlan.SYNC_API, LoadPlan.MIXED)
    offered = list(islice(endless_requests(LoadSettings(plans=plans)), 300))
    rides = Counter(each.ride for each in offered)
    assert set(rides.values()) == {3}
    assert {each.label for each in offered} == {"default", "sync_api", "mixed"}


@pytest.mark.parametrize("shape", LoadShape)
def test_every_shape_is_an_arrival_process(shape: LoadShape) -> None:
    assert ArrivalProcess(shape.value)
    assert list(islice(endless_requests(LoadSettings(shape=shape)), 10))


def test_a_spike_raises_the_rate_in_each_period() -> None:
    settings = LoadSettings(rate_per_s=10, shape=LoadShape.SPIKE, factor=5, period_s=20)
    assert [current_rate_per_s(settings, at_s) for at_s in (0, 9.5, 12, 29.5)] == [10, 50, 10, 50]
    within = Counter(
        9 <= each.at_s % 20 < 11 for each in takewhile(lambda each: each.at_s < 400, endless_requests(settings))
    )
    assert within[True] / 2 / (within[False] / 18) == pytest.approx(5, rel=0.2)


def test_all_plans_of_the_lab_can_be_chosen() -> None:
    assert {plan.value for plan in LoadPlan} == {"default", *PLANS}


def sample(status: int | None = 202, response_ms: float | None = 5.0, *, refusals: int = 0) -> Sample:
    refusal = RefusalSample(status=503, at_s=0.1, retry_after_s=1.0, reason="overloaded")
    return Sample(
        scenario="open-load",
        label="default",
        ride=1,
        key="k",
        intended_at=utc_now(),
        lag_ms=1.0,
        status=status,
        error=None if status else "timeout",
        response_ms=response_ms,
        booking_id=None,
        refusals=(refusal,) * refusals,
    )


def test_every_offered_ride_is_in_one_count() -> None:
    tally = Tally()
    for each in (sample(), sample(201, refusals=1), sample(503, refusals=4), sample(None, None), sample(500)):
        tally.add(each, 100.0)
    progress = tally.progress(offered=9, rate_per_s=2.0, now_s=101.0)
    counts = (progress.accepted, progress.refused, progress.failed, progress.waiting, progress.returned)
    assert counts == (2, 1, 2, 4, 1)
    assert progress.offered == progress.accepted + progress.refused + progress.failed + progress.waiting


def test_quantiles_are_those_of_the_last_seconds() -> None:
    tally = Tally()
    tally.add(sample(response_ms=900.0), 100.0)
    tally.add(sample(response_ms=5.0), 109.0)
    assert tally.progress(2, 1.0, 109.5).response_p99_ms == 900.0
    assert tally.progress(2, 1.0, 111.0).response_p99_ms == 5.0
    idle = tally.progress(2, 1.0, 130.0)
    assert (idle.response_p50_ms, idle.lag_p99_ms, idle.accepted) == (None, None, 2)


async def test_a_load_changes_while_it_runs_and_counts_all_rides_to_the_end() -> None:
    server = await asyncio.get_running_loop().create_server(StubServerProtocol, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, open_session() as session:
        load = OpenLoad(Generator(session, url, "open-load"), "load-1")
        assert load.progress().rate_per_s == 0.0
        load.change(LoadSettings(rate_per_s=100))
        await wait_until(lambda: load.progress().accepted >= 20, 30)
        assert load.progress().rate_per_s == 100.0
        before = load.progress().offered
        load.change(LoadSettings(rate_per_s=200, shape=LoadShape.CONSTANT))
        await wait_until(lambda: load.progress().accepted >= before + 20, 30)
        load.stop()
        await load.drain()
        progress = load.progress()
        assert (progress.waiting, progress.failed, progress.rate_per_s) == (0, 0, 0.0)
        assert progress.accepted == progress.offered
