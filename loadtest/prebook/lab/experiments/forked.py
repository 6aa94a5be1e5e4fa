"""Processes that are forked from a server which has imported everything and holds no connection.

Each is a process of its own, with connections of its own, which the kernel closes when it crashes. Starting an
interpreter for each would be most of the experiment's time.
"""

import asyncio
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TypeVar

from prebook.devstack.child_process import read_tail

SpecT = TypeVar("SpecT")
PROCESS_TIMEOUT_S = 60.0


@contextmanager
def start_forked(
    run_worker: Callable[[SpecT], object], specs: Iterable[SpecT], preloaded_modules: Sequence[str]
) -> Iterator[list[ForkServerProcess]]:
    """Start ``run_worker`` in a process for each of ``specs``, and kill those that still run after the block.

    ``preloaded_modules`` are imported once, in the server; anything else is imported in each process.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *preloaded_modules])
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


async def run_forked(
    run_worker: Callable[[SpecT], object], spec: SpecT, preloaded_modules: Sequence[str]
) -> int | None:
    """Return the exit status of one process, negative for a signal; None where it did not end in time."""
    with start_forked(run_worker, [spec], preloaded_modules) as (process,):
        try:
            async with asyncio.timeout(PROCESS_TIMEOUT_S):
                await _wait_for_exit(process)
        except TimeoutError:
            return None
    return process.exitcode


def last_words(log_files: Iterable[Path]) -> str:
    """Return the ends of the logs that exist, for an error message."""
    return " / ".join(read_tail(log).strip() for log in log_files if log.exists()) or "(none)"


async def _wait_for_exit(process: ForkServerProcess) -> None:
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(process.sentinel, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(process.sentinel)
