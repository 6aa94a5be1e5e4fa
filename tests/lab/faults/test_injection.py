"""Injections against a stand-in of supervisor and management API: what counts as proof, and that all is undone."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from prebook.lab.faults import FAULT_CATALOGUE, FaultAccess, fault_access, inject, survey_faults
from prebook.lab.faults.availability import NO_CONTROL
from prebook.lab.suite_client.broker_management import BrokerManagement
from prebook.lab.suite_client.settings import InvalidEnvironment
from tests.lab.stub_suite import process_info

VHOST_URL = "amqp://admin:hush@127.0.0.1:1/prebook"


@dataclass
class Stand:
    """Plays supervisor, management API and service. ``deaf``: says yes to everything and does nothing."""

    deaf: bool = False
    url: str = ""
    ordered: list[str] = field(default_factory=list)
    connections: list[str] = field(default_factory=lambda: ["a:1 -> b:2", "c:3 -> b:2"])
    server: dict[str, Any] = field(
        default_factory=lambda: {
            "name": "broker",
            "version": "4.1",
            "state": "running",
            "pid": 7,
            "restarts": 0,
            "alarm": False,
        }
    )
    proxy: dict[str, Any] = field(
        default_factory=lambda: {"name": "http-pricing", "state": "healthy", "connections": 2}
    )
    still: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path
        if request.method != "GET":
            self.ordered.append(path)
            await self.obey(request)
            return web.json_response({})
        return web.json_response(self.told(path))

    async def obey(self, request: web.Request) -> None:
        what = request.path.rpartition("/")[2]
        loop = asyncio.get_running_loop()
        if self.deaf:
            return
        if request.method == "DELETE":
            self.connections.remove(what)
        elif what == "restart":
            self.server |= {"pid": self.server["pid"] + 1, "restarts": self.server["restarts"] + 1}
        elif what == "pause":
            self.still.set()
        elif what == "resume":
            self.still.clear()
        elif what == "cut":
            self.proxy["state"] = "cut"
            loop.call_later((await request.json())["duration_s"], self.proxy.update, {"state": "healthy"})

    def told(self, path: str) -> Any:
        listed = [{"name": name, "user": "prebook_pricing"} for name in self.connections]
        pages: dict[str, Any] = {
            "/processes": [process_info("pricing", 100)],
            "/servers": [self.server],
            "/proxies": [{**self.proxy, "address": self.url.removeprefix("http://")}],
            "/api/nodes": [{"name": "one"}],
            "/api/vhosts/prebook/connections": [*listed, {"name": "our own", "user": "admin"}],
        }
        return pages[path]

    async def live(self, request: web.Request) -> web.Response:
        if self.proxy["state"] == "cut" and request.transport:
            request.transport.abort()
        while self.still.is_set():
            await asyncio.sleep(0.02)
        return web.Response()

    async def answered(self, _: web.Request) -> web.Response:
        return web.Response()


@asynccontextmanager
async def standing(stand: Stand) -> AsyncIterator[FaultAccess]:
    app = web.Application()
    app.router.add_get("/livez", stand.live)
    app.router.add_route("*", "/{any:.*}", stand.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stand.url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        async with aiohttp.ClientSession() as session:
            management = BrokerManagement(session, stand.url, "admin", "hush")
            yield FaultAccess(session, {"pricing": stand.url}, {"pricing": stand.url}, "token", management, VHOST_URL)
    finally:
        await runner.cleanup()


SHOWN = {
    "connections_cut": "2 connections closed",
    "broker_kill": "pid 7 ended (kill), pid 8 in its place",
    "link_cut_http_pricing": "got no answer",
    "pause_pricing": "slowest of",
}


@pytest.mark.parametrize(("name", "shown"), SHOWN.items(), ids=SHOWN)
async def test_a_fault_that_took_effect_shows_how_that_is_known(name: str, shown: str) -> None:
    async with standing(Stand()) as reached:
        window = await inject(FAULT_CATALOGUE[name], 0.7, reached)
    assert window.took_effect, window.evidence
    assert shown in window.evidence


@pytest.mark.parametrize("name", SHOWN)
async def test_a_fault_that_was_only_promised_took_no_effect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.lab.faults.servers.RESTART_TIMEOUT_S", 0.1)
    async with standing(Stand(deaf=True)) as reached:
        window = await inject(FAULT_CATALOGUE[name], 0.3, reached)
    assert not window.took_effect
    assert window.evidence


async def test_a_link_that_is_only_called_cut_took_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stand, "live", Stand.answered)
    async with standing(Stand()) as reached:
        window = await inject(FAULT_CATALOGUE["link_cut_http_pricing"], 0.5, reached)
    assert not window.took_effect
    assert "0 got no answer" in window.evidence


async def test_our_own_connections_are_not_cut() -> None:
    stand = Stand()
    async with standing(stand) as reached:
        await inject(FAULT_CATALOGUE["connections_cut"], 0.1, reached)
    assert not any("our own" in path for path in stand.ordered)


async def test_what_stands_still_is_woken_when_the_injection_is_given_up() -> None:
    stand = Stand()
    async with standing(stand) as reached:
        injecting = asyncio.create_task(inject(FAULT_CATALOGUE["pause_pricing"], 30.0, reached))
        await asyncio.wait_for(stand.still.wait(), 3)
        injecting.cancel()
        await asyncio.wait({injecting})
    assert stand.ordered[-1] == "/processes/pricing/resume"
    assert not stand.still.is_set()


async def test_an_injection_ends_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.lab.faults.injection.UNDO_TIMEOUT_S", 0.2)
    async with standing(Stand(deaf=True)) as reached, asyncio.timeout(5):
        window = await inject(FAULT_CATALOGUE["broker_kill"], 0.1, reached)
    assert not window.took_effect


@pytest.mark.parametrize("name", sorted(FAULT_CATALOGUE))
async def test_no_fault_raises_where_there_is_nothing_to_break(name: str) -> None:
    async with aiohttp.ClientSession() as session:
        window = await inject(FAULT_CATALOGUE[name], 0.1, fault_access.read_fault_access(session, {}))
    assert not window.took_effect
    assert window.evidence


async def test_without_an_environment_nothing_is_available_and_each_fault_says_why() -> None:
    async with aiohttp.ClientSession() as session:
        found = await survey_faults(fault_access.read_fault_access(session, {}))
    assert [each.fault.name for each in found] == list(FAULT_CATALOGUE)
    assert all(each.unavailable_reason for each in found)
    assert found[0].unavailable_reason == NO_CONTROL


async def test_what_the_supervisor_tells_decides_what_is_available() -> None:
    async with standing(Stand()) as reached:
        here = {each.fault.name for each in await survey_faults(reached) if not each.unavailable_reason}
    assert here >= {"kill_pricing", "pause_pricing", "connections_cut", "broker_kill", "link_cut_http_pricing"}
    assert not here & {"kill_booking", "database_kill", "link_cut_http_booking", "leader_lost", "poison"}


async def test_a_wrong_address_is_named_and_no_secret_is_shown() -> None:
    given = {"PREBOOK_MANAGEMENT_URL": "http://127.0.0.1:9", "PREBOOK_MANAGEMENT_PASSWORD": "hush"}
    async with aiohttp.ClientSession() as session:
        assert "hush" not in repr(
            fault_access.read_fault_access(session, {**given, "PREBOOK_AMQP_URL": "amqp://a:hush@h"})
        )
        with pytest.raises(InvalidEnvironment, match="PREBOOK_CONTROL_PRICING"):
            fault_access.read_fault_access(session, {**given, "PREBOOK_CONTROL_PRICING": "not a URL"})


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prebook.lab", "fault", *arguments],
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_by_hand_the_catalogue_is_listed_and_one_is_shown() -> None:
    listed = msgspec.json.decode(run("list", "--json").stdout)
    assert [line["name"] for line in listed] == list(FAULT_CATALOGUE)
    shown = run("show", "broker_kill")
    assert shown.returncode == 0
    assert FAULT_CATALOGUE["broker_kill"].expectation in shown.stdout


@pytest.mark.parametrize("name", ["kill_pricing", "no_such_fault"])
def test_by_hand_what_cannot_be_injected_ends_with_status_1_and_a_hint(name: str) -> None:
    done = run("inject", name)
    assert done.returncode == 1
    assert "prebook fault list" in done.stderr
