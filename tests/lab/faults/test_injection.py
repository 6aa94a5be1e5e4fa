"""Injections against a stub of supervisor and management API: evidence of effect, undoing, bounded time."""

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

from prebook.contracts.dead_letters import DeadLetterSummary
from prebook.flows import CONSOLE
from prebook.lab.faults import FAULT_CATALOGUE, FaultAccess, fault_access, inject, survey_faults
from prebook.lab.faults.availability import NO_CONTROL
from prebook.lab.faults.injection import UNDO_TIMEOUT_S, injection_timeout_s
from prebook.lab.faults.messages import CRASHING_POISON
from prebook.lab.suite_client.broker_management import BrokerManagement
from prebook.lab.suite_client.settings import InvalidEnvironment, SuiteAddresses
from tests.lab.faults.dead_letters import parked_dead_letter
from tests.lab.stub_suite import process_info

VHOST_URL = "amqp://admin:secret-word@127.0.0.1:1/prebook"


@dataclass
class StubControl:
    """Supervisor, management API and service in one; with ``ignore_commands`` it accepts commands and ignores them."""

    ignore_commands: bool = False
    url: str = ""
    commands: list[str] = field(default_factory=list)
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
    replicas: dict[str, int] = field(default_factory=lambda: {"pricing": 100})
    """Name of each supervised process -> its pid."""
    crash_messages: list[tuple[str, str | None]] = field(default_factory=list)
    """Processes that were restarted to crash at a message, or (None) at none, in order."""
    refused_restarts: int = 0
    """Restarts that the supervisor still refuses, because the process is down."""
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    missing: dict[str, str] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.Response:
        path = request.path
        if request.method != "GET":
            if path.endswith("/crash_message") and self.refused_restarts:
                self.refused_restarts -= 1
                return web.Response(status=409, text="notification is down")
            self.commands.append(path)
            await self.execute(request)
            return web.json_response({})
        return web.json_response(self.page(path))

    async def execute(self, request: web.Request) -> None:
        target = request.path.rpartition("/")[2]
        loop = asyncio.get_running_loop()
        if self.ignore_commands:
            return
        if request.method == "DELETE":
            self.connections.remove(target)
        elif target == "restart":
            self.server |= {"pid": self.server["pid"] + 1, "restarts": self.server["restarts"] + 1}
        elif target == "pause":
            self.paused.set()
        elif target == "resume":
            self.paused.clear()
        elif target == "cut":
            self.proxy["state"] = "cut"
            loop.call_later((await request.json())["duration_s"], self.proxy.update, {"state": "healthy"})

        elif target == "crash_message":
            name = request.path.split("/")[2]
            self.crash_messages.append((name, (await request.json())["message_id"]))
            self.replicas[name] += 1

        elif target == "read_only":
            self.missing["database"] = "the database is read-only"
            loop.call_later((await request.json())["duration_s"], self.missing.clear)

    async def ready(self, _: web.Request) -> web.Response:
        return web.json_response({"missing": self.missing}, status=503 if self.missing else 200)

    def page(self, path: str) -> Any:
        listed = [{"name": name, "user": "prebook_pricing"} for name in self.connections]
        pages: dict[str, Any] = {
            "/processes": [process_info(name, pid) for name, pid in self.replicas.items()],
            "/servers": [self.server],
            "/proxies": [{**self.proxy, "address": self.url.removeprefix("http://")}],
            "/api/nodes": [{"name": "one"}],
            "/api/vhosts/prebook/connections": [*listed, {"name": "lab", "user": "admin"}],
        }
        return pages[path]

    async def live(self, request: web.Request) -> web.Response:
        if self.proxy["state"] == "cut" and request.transport:
            request.transport.abort()
        while self.paused.is_set():
            await asyncio.sleep(0.02)
        return web.Response()

    async def respond_at_once(self, _: web.Request) -> web.Response:
        return web.Response()


@asynccontextmanager
async def serve_stub(control: StubControl) -> AsyncIterator[FaultAccess]:
    app = web.Application()
    app.router.add_get("/livez", control.live)
    app.router.add_get("/readyz", control.ready)
    app.router.add_route("*", "/{any:.*}", control.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    control.url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        async with aiohttp.ClientSession() as session:
            management = BrokerManagement(session, control.url, "admin", "secret-word")
            pricing = {"pricing": control.url}
            tokens = dict.fromkeys(("pricing", CONSOLE), "token")
            supervisors = dict.fromkeys(("pricing", "notification", CONSOLE), control.url)
            yield FaultAccess(session, SuiteAddresses(pricing, pricing), supervisors, tokens, management, VHOST_URL)
    finally:
        await runner.cleanup()


EVIDENCE = {
    "connections_cut": "2 connections closed",
    "broker_kill": "pid 7 ended (kill), replaced by pid 8",
    "link_cut_http_pricing": "probes failed",
    "pause_pricing": "slowest of",
    "database_read_only": "1 processes reported: the database is read-only; all were ready again",
}


@pytest.mark.parametrize(("name", "expected"), EVIDENCE.items(), ids=EVIDENCE)
async def test_a_fault_that_took_effect_has_evidence(name: str, expected: str) -> None:
    async with serve_stub(StubControl()) as access:
        window = await inject(FAULT_CATALOGUE[name], 0.7, access)
    assert window.took_effect, window.evidence
    assert expected in window.evidence


@pytest.mark.parametrize("name", EVIDENCE)
async def test_a_command_that_the_supervisor_ignores_has_no_effect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.lab.faults.servers.RESTART_TIMEOUT_S", 0.1)
    monkeypatch.setattr("prebook.lab.faults.database_writes.READY_TIMEOUT_S", 0.1)
    async with serve_stub(StubControl(ignore_commands=True)) as access:
        window = await inject(FAULT_CATALOGUE[name], 0.3, access)
    assert not window.took_effect
    assert window.evidence


async def test_a_link_that_still_responds_while_reported_as_cut_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StubControl, "live", StubControl.respond_at_once)
    async with serve_stub(StubControl()) as access:
        window = await inject(FAULT_CATALOGUE["link_cut_http_pricing"], 0.5, access)
    assert not window.took_effect
    assert ": 0 of" in window.evidence


async def test_connections_of_the_lab_are_not_closed() -> None:
    control = StubControl()
    async with serve_stub(control) as access:
        await inject(FAULT_CATALOGUE["connections_cut"], 0.1, access)
    assert not any(path.endswith("/lab") for path in control.commands)


async def test_a_paused_process_is_resumed_when_the_injection_is_cancelled() -> None:
    control = StubControl()
    async with serve_stub(control) as access:
        injecting = asyncio.create_task(inject(FAULT_CATALOGUE["pause_pricing"], 30.0, access))
        await asyncio.wait_for(control.paused.wait(), 3)
        injecting.cancel()
        await asyncio.wait({injecting})
    assert control.commands[-1] == "/processes/pricing/resume"
    assert not control.paused.is_set()


async def test_every_replica_is_disarmed_when_the_crashing_poison_cannot_be_published() -> None:
    replicas = {"notification": 10, "notification-2": 20, "pricing": 30}
    control = StubControl(replicas=replicas, refused_restarts=3)
    async with serve_stub(control) as access:
        window = await inject(FAULT_CATALOGUE["crashing_poison"], 0.1, access)
    assert not window.took_effect
    armed, disarmed = control.crash_messages[:2], control.crash_messages[2:]
    assert {name for name, _ in armed} == {"notification", "notification-2"}
    assert len({message_id for _, message_id in armed} - {None}) == 1
    assert sorted(disarmed) == [("notification", None), ("notification-2", None)]


async def test_a_crashing_poison_has_no_effect_where_no_process_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor restarted the process to arm and to disarm it, and never in between."""
    monkeypatch.setattr("prebook.lab.faults.crashing_poison.RESTART_TIMEOUT_S", 0.3)
    poison = parked_dead_letter(CRASHING_POISON.cause, 21)

    async def publish(*_: object) -> None:
        """Publish nothing."""

    async def wait_until_parked(*_: object) -> tuple[DeadLetterSummary, ...]:
        return (poison,)

    monkeypatch.setattr("prebook.lab.faults.poison.publish_to_notification", publish)
    monkeypatch.setattr("prebook.lab.faults.parked_messages.wait_until_parked", wait_until_parked)
    monkeypatch.setattr("prebook.lab.faults.parked_messages.discard", publish)
    control = StubControl(replicas={"notification": 10})
    async with serve_stub(control) as access:
        window = await inject(FAULT_CATALOGUE["crashing_poison"], 0.1, access)
    assert not window.took_effect
    assert "0 restarts" in window.evidence
    assert control.crash_messages[-1] == ("notification", None)


async def test_only_the_crashing_poison_may_take_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[str, float] = {}
    for fault in FAULT_CATALOGUE.values():
        limits[fault.kind] = injection_timeout_s(fault.kind, 1.0)
    assert limits.pop("crashing_poison") >= 120.0 + UNDO_TIMEOUT_S
    assert set(limits.values()) == {1.0 + UNDO_TIMEOUT_S}


async def test_an_injection_ends_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.lab.faults.injection.UNDO_TIMEOUT_S", 0.2)
    async with serve_stub(StubControl(ignore_commands=True)) as access, asyncio.timeout(5):
        window = await inject(FAULT_CATALOGUE["broker_kill"], 0.1, access)
    assert not window.took_effect


@pytest.mark.parametrize("name", sorted(FAULT_CATALOGUE))
async def test_no_injection_raises_without_a_suite(name: str) -> None:
    async with aiohttp.ClientSession() as session:
        window = await inject(FAULT_CATALOGUE[name], 0.1, fault_access.read_fault_access(session, {}))
    assert not window.took_effect
    assert window.evidence


async def test_without_an_environment_every_fault_is_unavailable_with_a_reason() -> None:
    async with aiohttp.ClientSession() as session:
        entries = await survey_faults(fault_access.read_fault_access(session, {}))
    assert [each.fault.name for each in entries] == list(FAULT_CATALOGUE)
    assert all(each.unavailable_reason for each in entries)
    assert entries[0].unavailable_reason == NO_CONTROL


async def test_availability_follows_the_resources_that_the_supervisor_lists() -> None:
    async with serve_stub(StubControl()) as access:
        available = {each.fault.name for each in await survey_faults(access) if not each.unavailable_reason}
    assert available >= {"kill_pricing", "pause_pricing", "connections_cut", "broker_kill", "link_cut_http_pricing"}
    assert not available & {"kill_booking", "database_kill", "link_cut_http_booking", "leader_lost", "poison"}


async def test_an_invalid_address_is_named_and_no_secret_is_shown() -> None:
    environ = {"PREBOOK_MANAGEMENT_URL": "http://127.0.0.1:9", "PREBOOK_MANAGEMENT_PASSWORD": "secret-word"}
    async with aiohttp.ClientSession() as session:
        assert "secret-word" not in repr(
            fault_access.read_fault_access(session, {**environ, "PREBOOK_AMQP_URL": "amqp://a:secret-word@h"})
        )
        with pytest.raises(InvalidEnvironment, match="PREBOOK_CONTROL_PRICING"):
            fault_access.read_fault_access(session, {**environ, "PREBOOK_CONTROL_PRICING": "not a URL"})


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prebook.lab", "fault", *arguments],
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_command_lists_the_catalogue_and_shows_one_fault() -> None:
    listed = msgspec.json.decode(run("list", "--json").stdout)
    assert [line["name"] for line in listed] == list(FAULT_CATALOGUE)
    shown = run("show", "broker_kill")
    assert shown.returncode == 0
    assert FAULT_CATALOGUE["broker_kill"].expectation in shown.stdout


@pytest.mark.parametrize("name", ["kill_pricing", "no_such_fault"])
def test_the_command_exits_with_status_1_and_a_hint_if_a_fault_cannot_be_injected(name: str) -> None:
    done = run("inject", name)
    assert done.returncode == 1
    assert "prebook fault list" in done.stderr
