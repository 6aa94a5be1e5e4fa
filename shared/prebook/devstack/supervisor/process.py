"""A supervised process, restarted whenever it ends."""

import asyncio
import contextlib
import signal
import time
from dataclasses import replace

from prebook.devstack.child_process import ChildProcess, Command, spawn
from prebook.devstack.supervisor.contract import (
    Brownout,
    FaultEffect,
    NotRunning,
    ProcessInfo,
    ProcessSpec,
    ProcessState,
)
from prebook.devstack.supervisor.memory import read_rss_bytes
from prebook.runtime.environment import EXIT_BAD_SETTINGS

MIN_BACKOFF_S = 0.2
MAX_BACKOFF_S = 5.0
STABLE_AFTER_S = 10.0
"""A process that ran at least this long is not in a crash loop: the backoff starts anew."""
CLOCK_SKEW_VARIABLE = "PREBOOK_CLOCK_SKEW_S"
CRASH_MESSAGE_VARIABLE = "PREBOOK_CRASH_MESSAGE_ID"
GRACE_PERIOD_S = 12.0
KILL_TIMEOUT_S = 5.0


class SupervisedProcess:
    """A process that is started again whenever it ends, after growing pauses, until it is stopped."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._command = Command(args=spec.args, env=spec.env, log_file=spec.log_file)
        self._child: ChildProcess | None = None
        self._state = ProcessState.STOPPED
        self._starts = 0
        self._failures = 0
        self._started_at: float | None = None
        self._last_status: int | None = None
        self._down_s = 0.0
        self._skew_s = 0.0
        self._was_ready = False
        self._brownout_task: asyncio.Task[None] | None = None
        self._stop_task: asyncio.Task[int] | None = None

    @property
    def state(self) -> ProcessState:
        """Current state; ``FAILED`` is final."""
        return self._state

    @property
    def log_tail(self) -> str:
        """Last lines of the log, for error messages."""
        return self._command.log_tail()

    def info(self) -> ProcessInfo:
        """Return the state of the process for the control API; ``pid`` and ``rss_bytes`` are None while it is down."""
        pid = self._child.pid if self._child else None
        return ProcessInfo(
            name=self.spec.name,
            state=self._state,
            pid=pid,
            restarts=max(0, self._starts - 1),
            started_at=self._started_at,
            rss_bytes=read_rss_bytes(pid) if pid else None,
            last_status=self._last_status,
            clock_skew_s=self._skew_s,
        )

    async def run(self) -> None:
        """Keep the process running until cancelled, or until it fails for good; then it is stopped."""
        try:
            while self._state is not ProcessState.FAILED:
                await self._run_once()
        finally:
            await self._stop()

    def mark_ready(self) -> None:
        """Record that the process answered its readiness probe."""
        self._was_ready = True
        if self._state is ProcessState.STARTING:
            self._state = ProcessState.RUNNING

    async def kill(self, down_s: float) -> FaultEffect:
        """Kill the process and wait for its end; it is started again after ``down_s`` seconds. Raises NotRunning."""
        child = self._require_running()
        self._down_s = down_s
        child.send_signal(signal.SIGKILL)
        async with asyncio.timeout(KILL_TIMEOUT_S):
            await child.wait()
        return FaultEffect(name=self.spec.name, fault="kill", pid=child.pid, duration_s=down_s)

    async def skew(self, skew_s: float) -> FaultEffect:
        """Restart the process with another clock, without waiting for the restart. Raises NotRunning."""
        pid = await self._restart_with(CLOCK_SKEW_VARIABLE, str(skew_s))
        self._skew_s = skew_s
        return FaultEffect(name=self.spec.name, fault="skew", pid=pid)

    async def crash_at(self, message_id: str | None) -> FaultEffect:
        """Restart the process, to crash whenever it receives a message, or (None) at none. Raises NotRunning."""
        pid = await self._restart_with(CRASH_MESSAGE_VARIABLE, message_id)
        return FaultEffect(name=self.spec.name, fault="crash_message", pid=pid)

    async def brown_out(self, brownout: Brownout) -> FaultEffect:
        """Stop and continue the process in turn, in the background, for a while. Raises NotRunning."""
        await self._end_brownout()
        child = self._require_running()
        self._state = ProcessState.BROWNOUT
        self._brownout_task = asyncio.create_task(self._run_brownout(child, brownout))
        return FaultEffect(name=self.spec.name, fault="brownout", pid=child.pid, duration_s=brownout.duration_s)

    async def pause(self) -> FaultEffect:
        """Stop the process by SIGSTOP until ``resume``. Raises NotRunning."""
        await self._end_brownout()
        child = self._require_running()
        child.send_signal(signal.SIGSTOP)
        self._state = ProcessState.PAUSED
        return FaultEffect(name=self.spec.name, fault="pause", pid=child.pid)

    async def resume(self) -> FaultEffect:
        """End a pause or a brownout. Raises NotRunning."""
        await self._end_brownout()
        child = self._require_running()
        self._continue(child)
        return FaultEffect(name=self.spec.name, fault="resume", pid=child.pid)

    async def _restart_with(self, variable: str, value: str | None) -> int:
        """Begin an orderly restart with another value of an environment variable, or (None) without it.

        Returns the pid that ends.
        """
        await self._end_brownout()
        child = self._require_running()
        env = {name: kept for name, kept in self._command.env.items() if name != variable}
        self._command = replace(self._command, env=env if value is None else {**env, variable: value})
        self._stop_task = asyncio.create_task(child.stop(GRACE_PERIOD_S))
        return child.pid

    async def _run_once(self) -> None:
        self._state = ProcessState.STARTING
        self._was_ready = False
        self._down_s = 0.0
        self._child = child = await spawn(self._command)
        self._starts += 1
        self._started_at = time.time()
        began = time.monotonic()
        self._last_status = await child.wait()
        self._child = None
        await self._end_brownout()
        self._state = ProcessState.FAILED if self._last_status == EXIT_BAD_SETTINGS else ProcessState.DOWN
        self._failures = 0 if time.monotonic() - began > STABLE_AFTER_S else self._failures + 1
        if self._state is ProcessState.DOWN:
            await asyncio.sleep(self._down_s or restart_backoff_s(self._failures))

    async def _stop(self) -> None:
        await self._end_brownout()
        if self._child:
            self._last_status = await self._child.stop(GRACE_PERIOD_S)
            self._child = None
        if self._state is not ProcessState.FAILED:
            self._state = ProcessState.STOPPED

    async def _run_brownout(self, child: ChildProcess, brownout: Brownout) -> None:
        """Stop and continue the process in turn; it runs afterwards, also after a cancellation."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(brownout.duration_s):
                    while child.send_signal(signal.SIGSTOP):
                        await asyncio.sleep(brownout.stopped_s)
                        child.send_signal(signal.SIGCONT)
                        await asyncio.sleep(brownout.running_s)
        finally:
            self._continue(child)

    def _continue(self, child: ChildProcess) -> None:
        if child.send_signal(signal.SIGCONT) and self._child is child:
            self._state = ProcessState.RUNNING if self._was_ready else ProcessState.STARTING

    async def _end_brownout(self) -> None:
        """Cancel a brownout; the process runs again when this returns."""
        task = self._brownout_task
        self._brownout_task = None
        if task:
            task.cancel()
            await asyncio.wait([task])

    def _require_running(self) -> ChildProcess:
        if self._child is None or self._child.status is not None:
            raise NotRunning(f"{self.spec.name} is {self._state}")
        return self._child


def restart_backoff_s(failures: int) -> float:
    """Return the seconds before the next start, after ``failures`` early ends in a row; doubles from 0.2 up to 5."""
    return min(MAX_BACKOFF_S, MIN_BACKOFF_S * 2.0 ** max(0, failures - 1))
