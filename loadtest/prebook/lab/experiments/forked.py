"""Worker processes forked from a server process that has imported all modules and holds no connection.

Each worker opens its own connections, which the kernel closes when it crashes. Starting an interpreter per worker would
take most of an experiment's time.
"""

import asyncio
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TypeVar

from prebook.devstack.child_process import read_tail

SpecT = TypeVar("SpecT")
PROCESS_TIMEOUT_S = 60.0


def preload(modules: Iterable[str]) -> None:
    """Let the fork server import ``modules`` once, before its first process starts.

    Each process imports all other modules itself.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(["__main__", *modules])


@contextmanager
def start_forked(run_worker: Callable[[SpecT], object], specs: Iterable[SpecT]) -> Iterator[list[ForkServerProcess]]:
    """Start ``run_worker`` in one process per spec; kill the processes that still run after the block."""
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=run_worker, args=(spec,), daemon=True) for spec in specs]
    started: list[ForkServerProcess] = []
    try:
        for process in processes:
            process.start()
            started.append(process)
        yield processes
    finally:
        for process in started:
            process.kill()
            process.join()


async def run_forked(run_worker: Callable[[SpecT], object], spec: SpecT) -> int | None:
    """Run one process; return its exit status, negative for a signal, or None after PROCESS_TIMEOUT_S."""
    with start_forked(run_worker, [spec]) as (process,):
        try:
            async with asyncio.timeout(PROCESS_TIMEOUT_S):
                await wait_for_exit(process)
        except TimeoutError:
            return None
    return process.exitcode


def log_tails(log_files: Iterable[Path]) -> str:
    """Return the last lines of the existing log files, for an error message."""
    return " / ".join(read_tail(log).strip() for log in log_files if log.exists()) or "(none)"


async def wait_for_exit(process: ForkServerProcess) -> None:
    """Return once the process has ended."""
    loop = asyncio.get_running_loop()
    exited = asyncio.Event()
    loop.add_reader(process.sentinel, exited.set)
    try:
        await exited.wait()
    finally:
        loop.remove_reader(process.sentinel)
