"""What is interrupted is over, with all that it started, before its folder is removed."""

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

BUSY = 'trap "" TERM; (trap "" TERM; while :; do : > "$0/written"; done) & wait; wait'
"""It starts one that goes on writing for as long as it is let, and neither ends when asked to."""


def busy(folder: Path) -> Command:
    return Command(args=("sh", "-c", BUSY, folder), env={"PATH": os.defpath})


async def _both_are_there(folder: Path) -> None:
    await wait_until(lambda: (folder / "written").exists() and len(processes_in(folder)) == 2)


async def test_a_run_that_is_interrupted_leaves_no_process_of_its_own(tmp_path: Path) -> None:
    running = asyncio.create_task(run(busy(tmp_path), 60))
    await _both_are_there(tmp_path)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not processes_in(tmp_path)


async def test_a_child_that_must_be_forced_leaves_no_process_of_its_own(tmp_path: Path) -> None:
    child = await spawn(busy(tmp_path))
    await _both_are_there(tmp_path)
    assert await child.stop(0.1) < 0, "by a signal"
    assert not processes_in(tmp_path)


async def test_a_copy_of_the_server_that_is_interrupted_is_over_before_its_folder_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = asyncio.Event()
    over = list[Path]()
    copy = embedded._copy_server
    loop = asyncio.get_running_loop()

    def watched(server: Path, to: Path) -> None:
        loop.call_soon_threadsafe(begun.set)
        copy(server, to)
        over.append(to)

    monkeypatch.setattr(
        filesystem, "can_reach", lambda path, _: "bin" not in str(path) and "pginstall" not in str(path)
    )
    monkeypatch.setattr(embedded, "_copy_server", watched)

    async def started() -> None:
        with create_data_dir() as data:
            await EmbeddedPostgres(data, lambda _: None).start()

    starting = asyncio.create_task(started())
    async with asyncio.timeout(10):
        await begun.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert [to.exists() for to in over] == [False]
