"""Metrics of all processes: one that hangs delays no other, and is away once its time is up."""

import asyncio
from typing import Any

import httpx

from prebook.control_room.backlog import Backlogs
from prebook.control_room.sources import PATIENCE_S, REQUEST_TIMEOUT_S, MetricsSource
from tests.conditions import poll_until


class Processes:
    """Metrics of several processes as an HTTP transport; one of them may hang."""

    def __init__(self) -> None:
        self.hanging = ""
        self.sent = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == self.hanging:
            await asyncio.sleep(60)
        self.sent += 1
        sample = 'prebook_messages_sent_total{flow="quote_fare",coupling="one_way",kind="request"}'
        return httpx.Response(200, text=f"{sample} {self.sent}\n")


def source_of(processes: Processes) -> MetricsSource:
    client = httpx.AsyncClient(transport=httpx.MockTransport(processes))
    return MetricsSource(client, {name: f"http://{name}" for name in ("booking", "pricing")}, Backlogs({}))


def states(figures: Any) -> dict[str, str]:
    return {name: each["state"] for name, each in figures["processes"].items()}


async def test_a_process_that_hangs_delays_no_figures_and_is_away_after_its_time() -> None:
    processes = Processes()
    source = source_of(processes)
    assert states(await source.read()) == {"booking": "up", "pricing": "up"}
    processes.hanging = "pricing"
    clock = asyncio.get_running_loop().time
    began = clock()
    figures = await source.read()
    assert clock() - began < REQUEST_TIMEOUT_S - PATIENCE_S
    assert states(figures) == {"booking": "up", "pricing": "up"}
    before = figures["messages"]["quote_fare/one_way/request"]["sent"]

    async def is_away() -> bool:
        return states(await source.read()) == {"booking": "up", "pricing": "away"}

    await poll_until(is_away, 30)
    assert (await source.read())["messages"]["quote_fare/one_way/request"]["sent"] > before
    processes.hanging = ""

    async def is_back() -> bool:
        return states(await source.read()) == {"booking": "up", "pricing": "up"}

    await poll_until(is_back, 30)


async def test_the_first_figures_wait_for_all_processes() -> None:
    processes = Processes()
    processes.hanging = "pricing"
    assert states(await source_of(processes).read()) == {"booking": "up", "pricing": "away"}
