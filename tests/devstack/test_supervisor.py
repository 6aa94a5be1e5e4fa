"""Supervised processes: start, restart, faults, and errors at the start."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from prebook.devstack.errors import UserError
from prebook.devstack.supervisor.contract import Brownout, NotRunning, ProcessState
from prebook.devstack.supervisor.process import restart_backoff_s
from prebook.devstack.supervisor.supervisor import Supervisor
from tests.devstack.polling import is_gone, kernel_state, wait_until
from tests.devstack.supervised import pid_of, stub_spec, supervise


async def test_a_process_becomes_ready_is_measured_and_ends_with_the_supervisor(tmp_path: Path) -> None:
    async with supervise(stub_spec(tmp_path)) as (_, process):
        info = process.info()
        pid = pid_of(process)
        assert info.state is ProcessState.RUNNING
        assert info.restarts == 0
        assert info.rss_bytes
        assert 1_000_000 < info.rss_bytes < 200_000_000
        assert await asyncio.to_thread(_fetch_text, process.spec.ready_url) == str(pid)
    assert is_gone(pid)
    assert process.state is ProcessState.STOPPED


def _fetch_text(url: str) -> str:
    with urlopen(url, timeout=5) as response:  # noqa: S310 - an http URL of this test
        return str(response.read().decode())


async def test_a_process_that_dies_is_restarted(tmp_path: Path) -> None:
    async with supervise(stub_spec(tmp_path)) as (supervisor, process):
        first = pid_of(process)
        os.kill(first, 9)
        await wait_until(lambda: process.info().restarts == 1)
        await supervisor.wait_until_ready(15)
        assert pid_of(process) != first
        assert process.info().last_status == -9


async def test_a_killed_process_stays_down_for_the_given_time(tmp_path: Path) -> None:
    async with supervise(stub_spec(tmp_path)) as (_, process):
        clock = asyncio.get_running_loop().time
        began = clock()
        effect = await process.kill(down_s=1.0)
        assert is_gone(effect.pid)
        await wait_until(lambda: process.state is ProcessState.DOWN)
        with pytest.raises(NotRunning):
            await process.kill(down_s=0)
        await wait_until(lambda: process.info().pid)
        assert clock() - began >= 1.0


@pytest.mark.parametrize("paused", [False, True])
async def test_a_clock_skew_restarts_the_process_gracefully_with_the_skew(tmp_path: Path, *, paused: bool) -> None:
    async with supervise(stub_spec(tmp_path)) as (supervisor, process):
        first = pid_of(process)
        if paused:
            await process.pause()
        effect = await process.skew(90.0)
        assert (effect.fault, effect.pid) == ("skew", first)
        await wait_until(lambda: process.info().restarts == 1)
        assert process.info().last_status == 0, "the process handled SIGTERM"
        await supervisor.wait_until_ready(15)
        assert process.info().clock_skew_s == 90.0
        assert psutil.Process(pid_of(process)).environ()["PREBOOK_CLOCK_SKEW_S"] == "90.0"
        await process.skew(0.0)
        await wait_until(lambda: process.info().restarts == 2)
        assert process.info().clock_skew_s == 0.0


async def test_a_crash_message_is_armed_by_a_restart_and_disarmed_by_the_next(tmp_path: Path) -> None:
    async with supervise(stub_spec(tmp_path)) as (supervisor, process):
        armed = list[str | None]()
        for message_id in ("poison-1.notify_rider", "poison-2.notify_rider", None):
            before = pid_of(process)
            effect = await process.crash_at(message_id)
            assert (effect.fault, effect.pid) == ("crash_message", before)
            await wait_until(lambda: process.info().pid not in {before, None})  # noqa: B023 - awaited within the loop
            await supervisor.wait_until_ready(15)
            armed.append(psutil.Process(pid_of(process)).environ().get("PREBOOK_CRASH_MESSAGE_ID"))
        assert armed == ["poison-1.notify_rider", "poison-2.notify_rider", None]


async def test_a_brownout_stops_and_continues_the_process_and_ends(tmp_path: Path) -> None:
    async with supervise(stub_spec(tmp_path)) as (_, process):
        pid = pid_of(process)
        await process.brown_out(Brownout(duration_s=1.0, stopped_s=0.1, running_s=0.1))
        await wait_until(lambda: kernel_state(pid) == "T")
        await wait_until(lambda: kernel_state(pid) == "S")
        await wait_until(lambda: kernel_state(pid) == "T")
        await wait_until(lambda: process.state is ProcessState.RUNNING)
        assert kernel_state(pid) in {"S", "R"}


async def test_a_pause_replaces_a_brownout_and_lasts_until_it_is_resumed(tmp_path: Path) -> None:
    async with supervise(stub_spec(tmp_path)) as (_, process):
        pid = pid_of(process)
        await process.brown_out(Brownout(duration_s=60.0, stopped_s=0.05, running_s=0.05))
        await process.pause()
        await wait_until(lambda: kernel_state(pid) == "T")
        await asyncio.sleep(0.3)  # three periods of the brownout, if it were still active
        assert kernel_state(pid) == "T"
        assert process.info().state is ProcessState.PAUSED
        await process.resume()
        await wait_until(lambda: kernel_state(pid) in {"S", "R"})
        assert process.info().state is ProcessState.RUNNING


@pytest.mark.parametrize("fault", ["pause", "brownout"])
async def test_a_stop_ends_a_fault_so_that_the_process_stops_gracefully(tmp_path: Path, fault: str) -> None:
    async with supervise(stub_spec(tmp_path)) as (_, process):
        pid = pid_of(process)
        brownout = Brownout(duration_s=60.0, stopped_s=5.0, running_s=0.01)
        await (process.pause() if fault == "pause" else process.brown_out(brownout))
        await wait_until(lambda: kernel_state(pid) == "T")
    assert is_gone(pid)
    assert process.info().last_status == 0, "the process handled SIGTERM"


async def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.devstack.supervisor.process.GRACE_PERIOD_S", 0.3)
    async with supervise(stub_spec(tmp_path, "--ignore-sigterm")) as (_, process):
        pid = pid_of(process)
    assert is_gone(pid)


async def test_invalid_settings_are_reported_with_the_log_tail_and_not_retried(tmp_path: Path) -> None:
    supervisor = Supervisor([stub_spec(tmp_path, "--status", "2")])
    async with supervisor.run():
        with pytest.raises(UserError, match="wrong settings"):
            await supervisor.wait_until_ready(15)
        failed = supervisor.find_failed()
        assert failed
        assert failed.info().restarts == 0


async def test_a_crash_loop_is_reported_before_the_deadline(tmp_path: Path) -> None:
    supervisor = Supervisor([stub_spec(tmp_path, "--status", "1")])
    async with supervisor.run():
        with pytest.raises(UserError, match="ended before it was ready"):
            await supervisor.wait_until_ready(60)


def test_restart_delays_double_up_to_five_seconds() -> None:
    assert [restart_backoff_s(n) for n in (0, 1, 2, 3, 5, 6, 60)] == [0.2, 0.2, 0.4, 0.8, 3.2, 5.0, 5.0]


def test_the_supervisor_of_a_container_imports_no_client_and_no_stack() -> None:
    """Six supervisors of 12 MB more would take the containers over their 1.2 GB."""
    command = "import sys, prebook.cli.serve; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], text=True, capture_output=True, check=True)
    assert not {"aiohttp", "httpx", "asyncpg", "sqlalchemy", "prebook.devstack.stack"} & set(done.stdout.split())
