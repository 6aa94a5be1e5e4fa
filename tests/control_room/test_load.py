"""The load desk: it instructs a process, and its state is what the process tells."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import msgspec
import pytest
from litestar import Litestar

from prebook.control_room.feed import Feed
from prebook.control_room.load import LoadDesk, load_routes
from prebook.control_room.load_contract import LoadPhase, LoadSettings, LoadShape
from prebook.control_room.upstream import Upstream
from prebook.http.problems import EXCEPTION_HANDLERS
from tests.conditions import wait_until

WORKER = """
import json, sys
offered = 0
for line in sys.stdin:
    settings = json.loads(line)
    if settings["seed"] == 13:
        sys.exit("error: no luck")
    offered += 10
    print(json.dumps({"offered": offered, "rate_per_s": settings["rate_per_s"]}), flush=True)
print(json.dumps({"offered": offered, "accepted": offered}), flush=True)
"""
"""A worker that tells ten more rides with each instruction, and fails with seed 13."""


async def start() -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, stdin=PIPE, stdout=PIPE, stderr=PIPE)


@pytest.fixture
async def desk() -> AsyncIterator[LoadDesk]:
    desk = LoadDesk(Feed(), start)
    yield desk
    await desk.close()


async def told(desk: LoadDesk, **figures: Any) -> None:
    """Wait until the worker has told these figures."""
    await wait_until(lambda: all(getattr(desk.state.progress, name) == value for name, value in figures.items()), 30)


async def test_a_load_is_started_changed_and_stopped(desk: LoadDesk) -> None:
    assert desk.state.phase is LoadPhase.IDLE
    await desk.set(LoadSettings(rate_per_s=5))
    await told(desk, offered=10, rate_per_s=5.0)
    started_at = desk.state.started_at
    await desk.set(LoadSettings(rate_per_s=40, shape=LoadShape.SPIKE))
    await told(desk, offered=20, rate_per_s=40.0)
    assert (desk.state.phase, desk.state.started_at) == (LoadPhase.RUNNING, started_at)
    await desk.stop()
    await wait_until(lambda: desk.state.phase is LoadPhase.IDLE, 30)
    assert (desk.state.progress.offered, desk.state.progress.accepted) == (20, 20)


async def test_a_new_start_counts_from_zero(desk: LoadDesk) -> None:
    await desk.set(LoadSettings())
    await told(desk, offered=10)
    await desk.stop()
    await wait_until(lambda: desk.state.phase is LoadPhase.IDLE, 30)
    await desk.set(LoadSettings())
    await told(desk, offered=10)
    assert desk.state.phase is LoadPhase.RUNNING


async def test_a_worker_that_fails_says_why(desk: LoadDesk) -> None:
    await desk.set(LoadSettings(seed=13))
    await wait_until(lambda: desk.state.phase is LoadPhase.FAILED, 30)
    assert desk.state.error == "error: no luck"


async def test_a_stop_without_a_load_changes_nothing(desk: LoadDesk) -> None:
    assert (await desk.stop()).phase is LoadPhase.IDLE


def page_of(desk: LoadDesk, requests: list[httpx.Request]) -> httpx.AsyncClient:
    """Return a client on the event loop of the desk."""

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"enabled": False})

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    routes = load_routes(desk, Upstream(client, "booking", "http://booking.test", 1.0))
    app = Litestar(routes, exception_handlers=EXCEPTION_HANDLERS, openapi_config=None)
    return httpx.AsyncClient(transport=httpx.ASGITransport(cast("Any", app)), base_url="http://page.test")


async def test_the_page_starts_and_stops_the_load_and_switches_back_pressure(desk: LoadDesk) -> None:
    requests: list[httpx.Request] = []
    async with page_of(desk, requests) as page:
        started = await page.put("/v1/load", json={"rate_per_s": 8, "plans": ["default", "mixed"]})
        assert (started.status_code, started.json()["phase"]) == (200, "running")
        assert (await page.get("/v1/load")).json()["settings"]["plans"] == ["default", "mixed"]
        assert (await page.delete("/v1/load")).json()["phase"] == "ending"
        assert (await page.put("/v1/back-pressure", json={"enabled": False})).json() == {"enabled": False}
    assert [(each.method, each.url.path, each.content) for each in requests] == [
        ("PUT", "/v1/back-pressure", b'{"enabled":false}')
    ]


@pytest.mark.parametrize(
    "body",
    [{"rate_per_s": 0}, {"rate_per_s": 501}, {"plans": []}, {"plans": ["pigeon"]}, {"shape": "burst"}, {"period_s": 0}],
)
async def test_settings_out_of_bounds_start_nothing(desk: LoadDesk, body: dict[str, object]) -> None:
    async with page_of(desk, []) as page:
        assert (await page.put("/v1/load", json=body)).status_code == 422
    assert desk.state.phase is LoadPhase.IDLE


def test_every_setting_has_a_default() -> None:
    assert msgspec.json.decode(b"{}", type=LoadSettings) == LoadSettings()
