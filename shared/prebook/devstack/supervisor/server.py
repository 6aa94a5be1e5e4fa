"""A supervised broker node or database: restarted, short of memory or kept from writing, by the control API."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from prebook.asyncio_tools import wait_uncancelled
from prebook.devstack.errors import UserError
from prebook.devstack.servers import ServerChild, ServerProcess, SupportsMemoryAlarm, SupportsWriteFaults
from prebook.devstack.supervisor.contract import (
    FaultEffect,
    NotRunning,
    Restart,
    ServerInfo,
    ServerState,
    ShutdownMode,
    WriteFault,
)

if TYPE_CHECKING:
    # The supervisor of a container has no stack, and saves the memory of the modules that start one.
    from prebook.devstack.stack import Stack

KILL_TIMEOUT_S = 5.0
GRACE_PERIOD_S = 30.0
CLEAR_ALARM_TIMEOUT_S = 30.0
RETRY_INTERVAL_S = 0.2
ALARM_WATERMARK = "1MB"
RESTART_REMEDY = "start the suite again"


class SupervisedServer:
    """A broker node or the database. One that ends by itself is not restarted: the suite is broken then."""

    def __init__(self, name: str, version: str, process: ServerProcess) -> None:
        self.name = name
        self._version = version
        self._process = process
        self._restart_task: asyncio.Task[None] | None = None
        self._timed_fault: asyncio.Task[None] | None = None
        """A memory alarm, or the prevention of writes; a server has at most one of them."""
        self._restarts = 0

    def info(self) -> ServerInfo:
        """Return the state of the server for the control API; ``pid`` is None while it is down."""
        child = self._running_child()
        return ServerInfo(
            name=self.name,
            version=self._version,
            pid=child.pid if child else None,
            state=ServerState.RUNNING if child else ServerState.DOWN,
            restarts=self._restarts,
            alarm=self._timed_fault is not None and not self._timed_fault.done(),
        )

    def failure(self) -> UserError | None:
        """Return the error if the server ended by itself or did not restart; None while it runs or restarts."""
        if self._running_child() or (self._restart_task and not self._restart_task.done()):
            return None
        if self._restart_task and (failure := self._restart_task.exception()):
            return failure if isinstance(failure, UserError) else UserError(f"{self.name}: {failure!r}", RESTART_REMEDY)
        return UserError(f"{self.name} ended while the suite was running", RESTART_REMEDY)

    async def restart(self, fault: Restart) -> FaultEffect:
        """End the process; it comes back in the background. With SIGKILL it is gone when this returns.

        Raises NotRunning.
        """
        child = self._require_running()
        self._restart_task = asyncio.create_task(self._restart(child, fault))
        if fault.shutdown is ShutdownMode.KILL:
            child.send_signal(signal.SIGKILL)
            async with asyncio.timeout(KILL_TIMEOUT_S):
                await child.wait()
        return FaultEffect(name=self.name, fault="restart", pid=child.pid, duration_s=fault.down_s)

    async def raise_alarm(self, duration_s: float) -> FaultEffect:
        """Raise the broker's memory alarm; it is on when this returns. Raises NotRunning, UserError."""
        child = self._require_running()
        process = self._process
        if not isinstance(process, SupportsMemoryAlarm):
            raise NotRunning(f"{self.name} has no memory alarm; a broker node has one")
        await self._start_timed_fault(_memory_alarm(process, child), duration_s)
        return FaultEffect(name=self.name, fault="alarm", pid=child.pid, duration_s=duration_s)

    async def prevent_writes(self, fault: WriteFault, duration_s: float) -> FaultEffect:
        """Keep the database from writing; it cannot write when this returns. Raises NotRunning, UserError."""
        child = self._require_running()
        process = self._process
        if not isinstance(process, SupportsWriteFaults):
            raise NotRunning(f"{self.name} has no writes to prevent; the database has")
        await self._start_timed_fault(process.prevent_writes(fault), duration_s)
        return FaultEffect(name=self.name, fault=fault.value, pid=child.pid, duration_s=duration_s)

    async def close(self) -> None:
        """Cancel a restart under way, and undo a timed fault."""
        for task in (self._timed_fault, self._restart_task):
            await self._cancel(task)

    async def _start_timed_fault(self, fault: AbstractAsyncContextManager[None], duration_s: float) -> None:
        """Hold the fault for ``duration_s`` seconds in the background; it is in effect when this returns."""
        await self._cancel(self._timed_fault)
        begun = asyncio.get_running_loop().create_future()
        self._timed_fault = task = asyncio.create_task(_hold(fault, duration_s, begun))
        await asyncio.wait({task, begun}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()

    async def _restart(self, child: ServerChild, fault: Restart) -> None:
        await SHUTDOWNS[fault.shutdown](child)
        await asyncio.sleep(fault.down_s)
        await self._process.restart()
        self._restarts += 1

    async def _cancel(self, task: asyncio.Task[None] | None) -> None:
        if task:
            task.cancel()
            await wait_uncancelled(asyncio.gather(task, return_exceptions=True))

    def _running_child(self) -> ServerChild | None:
        """Return the running process; None while it is down, or is being restarted and not ready yet."""
        child = self._process.child
        is_restarting = self._restart_task is not None and not self._restart_task.done()
        return child if child and child.status is None and not is_restarting else None

    def _require_running(self) -> ServerChild:
        child = self._running_child()
        if child is None:
            raise NotRunning(f"{self.name} is down")
        return child


async def _kill(child: ServerChild) -> None:
    child.send_signal(signal.SIGKILL)
    await child.wait()


async def _stop(child: ServerChild) -> None:
    await child.stop(GRACE_PERIOD_S)


SHUTDOWNS: Mapping[ShutdownMode, Callable[[ServerChild], Awaitable[None]]] = {
    ShutdownMode.KILL: _kill,
    ShutdownMode.STOP: _stop,
}


async def _hold(fault: AbstractAsyncContextManager[None], duration_s: float, begun: asyncio.Future[None]) -> None:
    """Hold a fault for ``duration_s`` seconds; it is undone in any case."""
    async with fault:
        begun.set_result(None)
        await asyncio.sleep(duration_s)


@asynccontextmanager
async def _memory_alarm(process: SupportsMemoryAlarm, child: ServerChild) -> AsyncIterator[None]:
    """Hold the memory alarm during the block; the configured watermark is restored in any case."""
    try:
        await process.set_memory_watermark(ALARM_WATERMARK)
        yield
    finally:
        await _clear_alarm(process, child)


async def _clear_alarm(process: SupportsMemoryAlarm, child: ServerChild) -> None:
    """Reset the watermark, unless the node ends: it starts again with the configured one."""
    async with asyncio.timeout(CLEAR_ALARM_TIMEOUT_S):
        while child.status is None:
            try:
                await process.set_memory_watermark(None)
            except UserError:
                await asyncio.sleep(RETRY_INTERVAL_S)
            else:
                return


@asynccontextmanager
async def supervise_servers(stack: "Stack") -> AsyncIterator[Mapping[str, SupervisedServer]]:
    """Supervise the stack's servers that are child processes, until the block ends; yield them by name."""
    versions = {"broker": stack.broker.version, "database": stack.database.version}
    servers = {
        name: SupervisedServer(name, versions[name.partition("-")[0]], process)
        for name, process in stack.processes.items()
    }
    try:
        yield servers
    finally:
        for server in servers.values():
            await server.close()
