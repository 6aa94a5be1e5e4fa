"""Several processes, kept running side by side."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import aiohttp

from prebook.devstack.errors import Trouble
from prebook.devstack.polling import to_the_end
from prebook.devstack.supervisor.contract import ProcessSpec, State
from prebook.devstack.supervisor.process import KeptProcess
from prebook.devstack.supervisor.reaper import reaping

ASK_EVERY_S, ASK_WITHIN_S = 0.1, 2.0
HOPELESS_RESTARTS = 4
"""Who ended this often before it was ready even once is not merely waiting for something."""


class Supervisor:
    """Use as ``async with supervisor.running()``; every process has ended, unhindered, when that block is left."""

    def __init__(self, specs: Iterable[ProcessSpec]) -> None:
        self.processes: Mapping[str, KeptProcess] = {spec.name: KeptProcess(spec) for spec in specs}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        keeping = [asyncio.create_task(process.run()) for process in self.processes.values()]
        watching = [asyncio.create_task(self._watch()), asyncio.create_task(reaping(self._pids))]
        try:
            yield
        finally:
            for task in (*keeping, *watching):
                task.cancel()
            await to_the_end(asyncio.gather(*keeping, *watching, return_exceptions=True))

    async def ready(self, within_s: float) -> None:
        """Wait until every process has said so. Raises Trouble with the last words of those that have not."""
        try:
            async with asyncio.timeout(within_s):
                while waiting := [p for p in self.processes.values() if p.state is not State.RUNNING]:
                    _refuse_hopeless(waiting)
                    await asyncio.sleep(ASK_EVERY_S)
        except TimeoutError:
            raise _not_ready(waiting, f"not ready within {within_s:g} s") from None

    def given_up(self) -> KeptProcess | None:
        """A process that can never work, so that it is not started again."""
        return next((process for process in self.processes.values() if process.state is State.FAILED), None)

    async def fails(self) -> KeptProcess:
        """Returns once a process was given up."""
        while True:
            if process := self.given_up():
                return process
            await asyncio.sleep(ASK_EVERY_S)

    def _pids(self) -> frozenset[int]:
        return frozenset(pid for process in self.processes.values() if (pid := process.info().pid))

    async def _watch(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ASK_WITHIN_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await asyncio.gather(*(_ask(process, session) for process in self.processes.values()))


async def _ask(process: KeptProcess, session: aiohttp.ClientSession) -> None:
    """Only while it starts: a process under load or fault is not asked anything."""
    while True:
        if process.state is State.STARTING and await _says_ready(process.spec.ready_url, session):
            process.answered_ready()
        await asyncio.sleep(ASK_EVERY_S)


async def _says_ready(url: str, session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.ok
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


def _refuse_hopeless(waiting: Iterable[KeptProcess]) -> None:
    given_up = [p for p in waiting if p.state is State.FAILED or p.info().restarts >= HOPELESS_RESTARTS]
    if given_up:
        raise _not_ready(given_up, "ended instead of getting ready")


def _not_ready(processes: Iterable[KeptProcess], why: str) -> Trouble:
    words = "\n".join(f"{p.spec.name} {why}; the end of its log: {p.last_words}" for p in processes)
    logs = ", ".join(str(p.spec.log) for p in processes if p.spec.log)
    return Trouble(words, f"read {logs or 'the output above'}; `prebook doctor` checks what the suite needs")
