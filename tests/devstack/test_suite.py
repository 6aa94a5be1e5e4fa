"""`prebook up` as a person starts it: one suite, real servers, real processes."""

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
from prebook.devstack.suite_state import STATE_FILE
from prebook.flows import PROCESSES
from tests.devstack.polling import is_gone, wait_until
from tests.workers import port_base

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(installation.find_rabbitmq() is None, reason="needs rabbitmq-server installed"),
]
PREBOOK = (sys.executable, "-m", "prebook.cli")
UP_WITHIN_S = 90
DOWN_WITHIN_S = 30


def base() -> int:
    """A port that is free together with those after it."""
    return port_base(len(PROCESSES) + 1)


async def prebook(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command that ends."""
    process = await asyncio.create_subprocess_exec(
        *PREBOOK, *arguments, env=_env(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(UP_WITHIN_S):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@asynccontextmanager
async def up(home: Path, port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """The running command and what it said; killed if the test has not ended it."""
    process = await asyncio.create_subprocess_exec(
        *PREBOOK, "up", "--json", "--port-base", str(port), env=_env(home), stdout=subprocess.PIPE
    )
    try:
        assert process.stdout
        async with asyncio.timeout(UP_WITHIN_S):
            yield process, json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _env(home: Path) -> dict[str, str]:
    return {**os.environ, "PREBOOK_HOME": str(home), "PREBOOK_STACK": "local"}


def _secrets_of(home: Path) -> dict[str, Any]:
    path = home / STATE_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return dict(json.loads(path.read_text()))


async def test_a_suite_comes_up_is_found_by_other_commands_and_goes_without_a_trace(tmp_path: Path) -> None:
    port = base()
    async with up(tmp_path, port) as (process, told):
        suite = _secrets_of(tmp_path)
        assert told["urls"] == {name: f"http://127.0.0.1:{port + n}" for n, name in enumerate(PROCESSES)}
        assert not {suite["control_token"], suite["management_password"], suite["database_url"]} & set(
            map(str, told.values())
        )
        kept = await _processes(suite)
        assert {name: process["state"] for name, process in kept.items()} == dict.fromkeys(PROCESSES, "running")

        status, out, _ = await prebook(tmp_path, "ledger", "--json")
        assert (status, json.loads(out)["bookings"]) == (0, 0)
        status, out, _ = await prebook(tmp_path, "doctor", "--json")
        assert status == 0, out
        assert {finding["subject"] for finding in json.loads(out)} >= set(PROCESSES)
        status, out, err = await prebook(tmp_path, "up", "--port-base", str(base()))
        assert status == 1
        assert "PREBOOK_HOME" in err, "the second one in this home says what to do"

        os.kill(kept["pricing"]["pid"], signal.SIGKILL)
        await _until_running_again(suite, "pricing", kept["pricing"]["pid"])

        everything = [suite["broker_pid"], suite["database_pid"]]
        everything += [process["pid"] for process in (await _processes(suite)).values()]
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(DOWN_WITHIN_S):
            assert await process.wait() == 0
    await wait_until(lambda: all(map(is_gone, everything)))
    assert _left(tmp_path) == {"lock", "logs"}


async def test_a_dead_database_ends_the_suite_with_a_word_about_it(tmp_path: Path) -> None:
    async with up(tmp_path, base()) as (process, _):
        suite = _secrets_of(tmp_path)
        os.kill(suite["database_pid"], signal.SIGKILL)
        async with asyncio.timeout(DOWN_WITHIN_S):
            assert await process.wait() == 1
    await wait_until(lambda: is_gone(suite["broker_pid"]))


async def test_a_taken_port_is_said_before_anything_is_started(tmp_path: Path) -> None:
    port = base()
    with socket.create_server(("127.0.0.1", port + 2)):
        status, _, err = await prebook(tmp_path, "up", "--port-base", str(port))
    assert status == 1
    assert str(port + 2) in err
    assert "--port-base" in err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("ledger",), 1, "prebook up"),
        (("load",), 1, "prebook up"),
        (("serve", "booking"), 1, "PREBOOK_CONTROL_TOKEN"),
        (("setup",), 1, "PREBOOK_MANAGEMENT_URL"),
        (("ready", "http://127.0.0.1:1"), 1, "does not answer"),
        (("serve", "nobody"), 2, "nobody"),
        (("no-such-command",), 2, "no-such-command"),
    ],
)
async def test_what_cannot_work_says_what_to_do(
    tmp_path: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    got, out, err = await prebook(tmp_path, *arguments)
    assert (got, out) == (status, "")
    assert words in err
    assert "Traceback" not in err


def _left(home: Path) -> set[str]:
    return {path.name for path in home.iterdir()}


async def _processes(suite: dict[str, Any]) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {suite['control_token']}"}
    async with aiohttp.ClientSession(headers=headers) as client, client.get(f"{suite['control_url']}/processes") as got:
        return {process["name"]: process for process in await got.json()}


async def _until_running_again(suite: dict[str, Any], name: str, old: int) -> None:
    async with asyncio.timeout(60):
        while (now := (await _processes(suite))[name])["state"] != "running" or now["pid"] == old:
            await asyncio.sleep(0.1)
