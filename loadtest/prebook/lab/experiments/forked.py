"""Processes that are forked from a server which has imported everything and holds no connection.

Each is a process of its own, with connections of its own, which the kernel closes when it crashes. Starting an
interpreter for each would be most of the experiment's time.
"""

import asyncio
import multiprocessing
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess

from prebook.lab.experiments.exactly_once.crash_plan import CrashWorkerSpec

RunWorker = Callable[[CrashWorkerSpec], object]
PROCESS_TIMEOUT_S = 60.0
PRELOADED_MODULES = [
    "__main__",
    "prebook.lab.experiments.exactly_once.producer",
    "prebook.lab.experiments.exactly_once.consumer",
]
"""The first is the command itself: what is not imported in the server is imported in each process."""


async def run_forked(run_worker: RunWorker, spec: CrashWorkerSpec) -> int | None:
    """Start one and wait: its exit status, negative for a signal; None where it had to be killed in the end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED_MODULES)
    process = context.Process(target=run_worker, args=(spec,), daemon=True)
    process.start()
    try:
        async with asyncio.timeout(PROCESS_TIMEOUT_S):
            await _wait_for_exit(process)
    except TimeoutError:
        return None
    finally:
        process.kill()
        process.join()
    return process.exitcode


async def _wait_for_exit(process: ForkServerProcess) -> None:
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.sentinel, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(process.sentinel)
