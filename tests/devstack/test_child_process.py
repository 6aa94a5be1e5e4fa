"""An interrupted run ends with all of its child processes before its folder is removed."""

import asyncio
import os
from pathlib import Path

import pytest

from prebook.devstack import filesystem
from prebook.devstack.child_process import Command, run, spawn
from prebook.devstack.database import embedded
from prebook.devstack.database.embedded import EmbeddedPostgres
from prebook.devstack.filesystem import create_data_dir
from tests.devstack.polling import wait_until
from tests.devstack.procfs import processes_in

SCRIPT = 'trap "" TERM; (trap "" TERM; while :; do : > "$0/written"; done) & wait; wait'
"""A shell with a child that writes until it is killed; both ignore SIGTERM."""


def stubborn_command(folder: Path) -> Command:
    return Command(args=("sh", "-c", SCRIPT, folder), env={"PATH": os.defpath})


async def _wait_until_both_run(folder: Path) -> None:
    await wait_until(lambda: (folder / "written").exists() and len(processes_in(folder)) == 2)


async def test_an_interrupted_run_leaves_no_process_behind(tmp_path: Path) -> None:
    running = asyncio.create_task(run(stubborn_command(tmp_path), 60))
    await _wait_until_both_run(tmp_path)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not processes_in(tmp_path)


async def test_a_killed_child_leaves_no_process_behind(tmp_path: Path) -> None:
    child = await spawn(stubborn_command(tmp_path))
    await _wait_until_both_run(tmp_path)
    assert await child.stop(0.1) < 0, "the child is ended by a signal"
    assert not processes_in(tmp_path)


async def test_an_interrupted_copy_of_the_server_ends_before_its_folder_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = asyncio.Event()
    copied = list[Path]()
    copy_server = embedded._copy_server
    loop = asyncio.get_running_loop()

    def record_copy(server: Path, to: Path) -> None:
        loop.call_soon_threadsafe(started.set)
        copy_server(server, to)
        copied.append(to)

    monkeypatch.setattr(
        filesystem, "can_reach", lambda path, _: "bin" not in str(path) and "pginstall" not in str(path)
    )
    monkeypatch.setattr(embedded, "_copy_server", record_copy)

    async def start() -> None:
        with create_data_dir() as data:
            await EmbeddedPostgres(data, lambda _: None).start()

    starting = asyncio.create_task(start())
    async with asyncio.timeout(10):
        await started.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert [to.exists() for to in copied] == [False]
