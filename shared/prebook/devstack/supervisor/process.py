"""One process that is kept running."""

import asyncio
import contextlib
import signal
import time
from dataclasses import replace

from prebook.devstack.child_process import Child, Command, spawn
from prebook.devstack.supervisor.contract import Brownout, Effect, NotRunning, ProcessInfo, ProcessSpec, State
from prebook.devstack.supervisor.memory import resident_bytes

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
SETTLED_S = 10.0
"""Who ran this long before it ended is not in a crash loop: the pauses begin anew."""
SKEW = "PREBOOK_CLOCK_SKEW_S"
GRACE_S, DEATH_WITHIN_S = 12.0, 5.0
HOPELESS = 2
"""Exit status of a service whose settings are wrong: starting it again would change nothing."""


class KeptProcess:
    """Started again with growing pauses whenever it ends, until it is stopped."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._command = Command(args=spec.args, env=spec.env, log=spec.log)
        self._child: Child | None = None
        self._state = State.STOPPED
        self._starts, self._failures = 0, 0
        self._started_at: float | None = None
        self._last_status: int | None = None
        self._hold_s, self._skew_s, self._answered = 0.0, 0.0, False
        self._brownout: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[int] | None = None

    @property
    def state(self) -> State:
        return self._state

    @property
    def last_words(self) -> str:
        return self._command.last_words()

    def info(self) -> ProcessInfo:
        pid = self._child.pid if self._child else None
        return ProcessInfo(
            name=self.spec.name,
            state=self._state,
            pid=pid,
            restarts=max(0, self._starts - 1),
            started_at=self._started_at,
            rss_bytes=resident_bytes(pid) if pid else None,
            last_status=self._last_status,
            clock_skew_s=self._skew_s,
        )

    async def run(self) -> None:
        """Ends when cancelled, with the process stopped, or when the process can never work."""
        try:
            while self._state is not State.FAILED:
                await self._live_once()
        finally:
            await self._stop()

    def answered_ready(self) -> None:
        """Told by whoever asks the process."""
        self._answered = True
        if self._state is State.STARTING:
            self._state = State.RUNNING

    async def kill(self, hold_s: float) -> Effect:
        """The process is gone when this returns. Raises NotRunning."""
        child = self._running()
        self._hold_s = hold_s
        child.send(signal.SIGKILL)
        async with asyncio.timeout(DEATH_WITHIN_S):
            await child.wait()
        return Effect(name=self.spec.name, fault="kill", pid=child.pid, for_s=hold_s)

    async def skew(self, by_s: float) -> Effect:
        """Returns at once: it is asked to end, and comes back with the other clock. Raises NotRunning."""
        await self._end_brownout()
        child = self._running()
        self._skew_s = by_s
        self._command = replace(self._command, env={**self._command.env, SKEW: str(by_s)})
        self._ending = asyncio.create_task(child.stop(GRACE_S))
        return Effect(name=self.spec.name, fault="skew", pid=child.pid)

    async def brown_out(self, wanted: Brownout) -> Effect:
        """Returns at once; the process gets its time back when it is over. Raises NotRunning."""
        await self._end_brownout()
        child = self._running()
        self._state = State.BROWNOUT
        self._brownout = asyncio.create_task(self._starve(child, wanted))
        return Effect(name=self.spec.name, fault="brownout", pid=child.pid, for_s=wanted.for_s)

    async def pause(self) -> Effect:
        """Until ``resume``. Raises NotRunning."""
        await self._end_brownout()
        child = self._running()
        child.send(signal.SIGSTOP)
        self._state = State.PAUSED
        return Effect(name=self.spec.name, fault="pause", pid=child.pid)

    async def resume(self) -> Effect:
        """Ends a pause or a brownout. Raises NotRunning."""
        await self._end_brownout()
        child = self._running()
        self._wake(child)
        return Effect(name=self.spec.name, fault="resume", pid=child.pid)

    async def _live_once(self) -> None:
        self._state, self._answered, self._hold_s = State.STARTING, False, 0.0
        self._child = child = await spawn(self._command)
        self._starts, self._started_at = self._starts + 1, time.time()
        began = time.monotonic()
        self._last_status = await child.wait()
        self._child = None
        await self._end_brownout()
        self._state = State.FAILED if self._last_status == HOPELESS else State.DOWN
        self._failures = 0 if time.monotonic() - began > SETTLED_S else self._failures + 1
        if self._state is State.DOWN:
            await asyncio.sleep(self._hold_s or pause_s(self._failures))

    async def _stop(self) -> None:
        await self._end_brownout()
        if self._child:
            self._last_status = await self._child.stop(GRACE_S)
            self._child = None
        if self._state is not State.FAILED:
            self._state = State.STOPPED

    async def _starve(self, child: Child, wanted: Brownout) -> None:
        """However this ends, the process runs afterwards."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wanted.for_s):
                    while child.send(signal.SIGSTOP):
                        await asyncio.sleep(wanted.stopped_s)
                        child.send(signal.SIGCONT)
                        await asyncio.sleep(wanted.running_s)
        finally:
            self._wake(child)

    def _wake(self, child: Child) -> None:
        if child.send(signal.SIGCONT) and self._child is child:
            self._state = State.RUNNING if self._answered else State.STARTING

    async def _end_brownout(self) -> None:
        """Over, and undone, when this returns."""
        task, self._brownout = self._brownout, None
        if task:
            task.cancel()
            await asyncio.wait([task])

    def _running(self) -> Child:
        if self._child is None or self._child.status is not None:
            raise NotRunning(f"{self.spec.name} is {self._state}")
        return self._child


def pause_s(failures: int) -> float:
    """Before the next start, after so many ends in a row."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** max(0, failures - 1))
