"""`prebook up` as a program: one suite with real servers and real processes."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from prebook.devstack.broker import installation
from prebook.devstack.service_environment import count_ports
from prebook.devstack.suite_state import STATE_FILE
from prebook.flows import PROCESSES
from tests.devstack.polling import is_gone, wait_until
from tests.workers import port_base

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(installation.find_rabbitmq() is None, reason="needs rabbitmq-server installed"),
]
PREBOOK = (sys.executable, "-m", "prebook.cli")
START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 30


def suite_port_base() -> int:
    """Return the first of enough consecutive free ports for a suite."""
    return port_base(count_ports())


async def run_prebook(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command to its end; return exit status, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *PREBOOK, *arguments, env=_env(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(START_TIMEOUT_S):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@asynccontextmanager
async def start_suite(home: Path, port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """Run `prebook up`; yield its process and its JSON output. The process is killed if the test has not ended it."""
    process = await asyncio.create_subprocess_exec(
        *PREBOOK, "up", "--json", "--port-base", str(port), env=_env(home), stdout=subprocess.PIPE
    )
    try:
        assert process.stdout
        async with asyncio.timeout(START_TIMEOUT_S):
            yield process, json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _env(home: Path) -> dict[str, str]:
    return {**os.environ, "PREBOOK_HOME": str(home), "PREBOOK_STACK": "local"}


def _read_state(home: Path) -> dict[str, Any]:
    path = home / STATE_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return dict(json.loads(path.read_text()))


async def test_a_suite_starts_is_found_by_other_commands_and_leaves_nothing_behind(tmp_path: Path) -> None:
    port = suite_port_base()
    async with start_suite(tmp_path, port) as (process, output):
        suite = _read_state(tmp_path)
        assert output["urls"] == {name: f"http://127.0.0.1:{port + n}" for n, name in enumerate(PROCESSES)}
        first_internal = port + len(PROCESSES) + 1
        assert output["internal_urls"] == {n: f"http://127.0.0.1:{first_internal + i}" for i, n in enumerate(PROCESSES)}
        assert not {suite["control_token"], suite["management_password"], suite["database_url"]} & set(
            map(str, output.values())
        )
        processes = await _list_processes(suite)
        assert {name: process["state"] for name, process in processes.items()} == dict.fromkeys(PROCESSES, "running")

        status, out, _ = await run_prebook(tmp_path, "ledger", "--json")
        assert (status, json.loads(out)["bookings"]) == (0, 0)
        status, out, _ = await run_prebook(tmp_path, "doctor", "--json")
        assert status == 0, out
        assert {finding["subject"] for finding in json.loads(out)} >= set(PROCESSES)
        status, out, err = await run_prebook(tmp_path, "up", "--port-base", str(suite_port_base()))
        assert status == 1
        assert "PREBOOK_HOME" in err, "the error of a second suite in one home has a remedy"

        os.kill(processes["pricing"]["pid"], signal.SIGKILL)
        await _wait_until_restarted(suite, "pricing", processes["pricing"]["pid"])

        pids = [suite["broker_pid"], suite["database_pid"]]
        pids += [process["pid"] for process in (await _list_processes(suite)).values()]
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            assert await process.wait() == 0
    await wait_until(lambda: all(map(is_gone, pids)))
    assert _names_in(tmp_path) == {"lock", "logs"}


async def test_a_dead_database_ends_the_suite_with_status_1(tmp_path: Path) -> None:
    async with start_suite(tmp_path, suite_port_base()) as (process, _):
        suite = _read_state(tmp_path)
        os.kill(suite["database_pid"], signal.SIGKILL)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            assert await process.wait() == 1
    await wait_until(lambda: is_gone(suite["broker_pid"]))


async def test_a_port_in_use_is_reported_before_anything_is_started(tmp_path: Path) -> None:
    port = suite_port_base()
    with socket.create_server(("127.0.0.1", port + 2)):
        status, _, err = await run_prebook(tmp_path, "up", "--port-base", str(port))
    assert status == 1
    assert str(port + 2) in err
    assert "--port-base" in err


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("ledger",), 1, "prebook up"),
        (("load",), 1, "prebook up"),
        (("serve", "booking"), 1, "PREBOOK_CONTROL_TOKEN_SHA256"),
        (("setup",), 1, "PREBOOK_MANAGEMENT_URL"),
        (("ready", "http://127.0.0.1:1"), 1, "does not answer"),
        (("topology", "declare"), 1, "prebook up"),
        (("topology", "diff"), 2, "prebook up"),
        (("serve", "nobody"), 2, "nobody"),
        (("no-such-command",), 2, "no-such-command"),
    ],
)
async def test_a_command_that_cannot_work_reports_a_remedy(
    tmp_path: Path, arguments: tuple[str, ...], status: int, text: str
) -> None:
    actual, out, err = await run_prebook(tmp_path, *arguments)
    assert (actual, out) == (status, "")
    assert text in err
    assert "Traceback" not in err


def _names_in(home: Path) -> set[str]:
    return {path.name for path in home.iterdir()}


async def _list_processes(suite: dict[str, Any]) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {suite['control_token']}"}
    async with (
        aiohttp.ClientSession(headers=headers) as client,
        client.get(f"{suite['control_url']}/processes") as response,
    ):
        return {process["name"]: process for process in await response.json()}


async def _wait_until_restarted(suite: dict[str, Any], name: str, old: int) -> None:
    async with asyncio.timeout(60):
        while (now := (await _list_processes(suite))[name])["state"] != "running" or now["pid"] == old:
            await asyncio.sleep(0.1)
