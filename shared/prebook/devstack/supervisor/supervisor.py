"""Supervisor of several processes, which starts each again when it ends."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from prebook.asyncio_tools import wait_uncancelled
from prebook.devstack.errors import UserError
from prebook.devstack.supervisor.contract import ProcessSpec, ProcessState
from prebook.devstack.supervisor.process import SupervisedProcess
from prebook.devstack.supervisor.reaper import reap_orphans

PROBE_INTERVAL_S = 0.1
PROBE_TIMEOUT_S = 2.0
MAX_STARTUP_RESTARTS = 4
"""A process that ended this often before it was first ready is in a crash loop, not waiting for a dependency."""


class Supervisor:
    """Keeps processes running during ``async with supervisor.run()``; all have ended when the block is left."""

    def __init__(self, specs: Iterable[ProcessSpec]) -> None:
        self.processes: Mapping[str, SupervisedProcess] = {spec.name: SupervisedProcess(spec) for spec in specs}

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Start all processes, keep them running during the block, and stop them at its end."""
        running = [asyncio.create_task(process.run()) for process in self.processes.values()]
        helpers = [asyncio.create_task(self._probe_all()), asyncio.create_task(reap_orphans(self._pids))]
        try:
            yield
        finally:
            for task in (*running, *helpers):
                task.cancel()
            await wait_uncancelled(asyncio.gather(*running, *helpers, return_exceptions=True))

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until every process is ready. Raises UserError with the ends of the other processes' logs."""
        try:
            async with asyncio.timeout(timeout_s):
                while waiting := [p for p in self.processes.values() if p.state is not ProcessState.RUNNING]:
                    _raise_if_crash_looping(waiting)
                    await asyncio.sleep(PROBE_INTERVAL_S)
        except TimeoutError:
            raise _not_ready_error(waiting, f"not ready within {timeout_s:g} s") from None

    def find_failed(self) -> SupervisedProcess | None:
        """Return a process with bad settings, which is not started again; None if there is none."""
        return next((process for process in self.processes.values() if process.state is ProcessState.FAILED), None)

    async def wait_until_failed(self) -> SupervisedProcess:
        """Return the first process that failed."""
        while True:
            if process := self.find_failed():
                return process
            await asyncio.sleep(PROBE_INTERVAL_S)

    def _pids(self) -> frozenset[int]:
        return frozenset(pid for process in self.processes.values() if (pid := process.info().pid))

    async def _probe_all(self) -> None:
        await asyncio.gather(*(_probe(process) for process in self.processes.values()))


async def _probe(process: SupervisedProcess) -> None:
    """Probe a process while it starts, and no longer: probes would compete with load and faults."""
    while True:
        if process.state is ProcessState.STARTING and await asyncio.to_thread(_is_ready, process.spec.ready_url):
            process.mark_ready()
        await asyncio.sleep(PROBE_INTERVAL_S)


def _is_ready(url: str) -> bool:
    """Return whether a GET of ``url`` succeeds. The services' HTTP client would cost each supervisor 12 MB."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _raise_if_crash_looping(waiting: Iterable[SupervisedProcess]) -> None:
    failed = [p for p in waiting if p.state is ProcessState.FAILED or p.info().restarts >= MAX_STARTUP_RESTARTS]
    if failed:
        raise _not_ready_error(failed, "ended before it was ready")


def _not_ready_error(processes: Iterable[SupervisedProcess], reason: str) -> UserError:
    problem = "\n".join(f"{p.spec.name} {reason}; the end of its log: {p.log_tail}" for p in processes)
    logs = ", ".join(str(p.spec.log_file) for p in processes if p.spec.log_file)
    return UserError(problem, f"read {logs or 'the output above'}; `prebook doctor` checks what the suite needs")
