"""A part of ours, broker or database: ended on purpose and brought back, or short of memory for a while."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from prebook.devstack.child_process import Child
from prebook.devstack.errors import Trouble
from prebook.devstack.polling import to_the_end
from prebook.devstack.servers import Alarmed, Member, Parts
from prebook.devstack.supervisor.contract import Effect, Ending, NotRunning, PartInfo, PartState, Restart

DEATH_WITHIN_S, GRACE_S, LIFTED_WITHIN_S, AGAIN_S = 5.0, 30.0, 30.0, 0.2
TOO_LITTLE = "1MB"


class KeptPart:
    """Unlike a service it is not started again when it ends by itself: then the suite is broken."""

    def __init__(self, name: str, version: str, member: Member) -> None:
        self.name, self._version, self._member = name, version, member
        self._restarting: asyncio.Task[None] | None = None
        self._alarm: asyncio.Task[None] | None = None
        self._restarts = 0

    def info(self) -> PartInfo:
        child = self._child()
        return PartInfo(
            name=self.name,
            version=self._version,
            pid=child.pid if child else None,
            state=PartState.RUNNING if child else PartState.DOWN,
            restarts=self._restarts,
            alarm=self._alarm is not None and not self._alarm.done(),
        )

    def trouble(self) -> Trouble | None:
        """It ended by itself, or did not come back. None while it is away on purpose."""
        if self._child() or (self._restarting and not self._restarting.done()):
            return None
        if self._restarting and (failure := self._restarting.exception()):
            return failure if isinstance(failure, Trouble) else Trouble(f"{self.name}: {failure!r}", "start it again")
        return Trouble(f"{self.name} ended while the suite was running", "start it again")

    async def restart(self, wanted: Restart) -> Effect:
        """Killed, it is gone when this returns; asked to stop, it has heard. Raises NotRunning."""
        child = self._running()
        self._restarting = asyncio.create_task(self._replace(child, wanted))
        if wanted.how is Ending.KILL:
            child.send(signal.SIGKILL)
            async with asyncio.timeout(DEATH_WITHIN_S):
                await child.wait()
        return Effect(name=self.name, fault="restart", pid=child.pid, for_s=wanted.hold_s)

    async def raise_alarm(self, for_s: float) -> Effect:
        """On when this returns. Raises NotRunning, Trouble."""
        child, member = self._running(), self._member
        if not isinstance(member, Alarmed):
            raise NotRunning(f"{self.name} has no memory alarm; the broker has")
        await self._end(self._alarm)
        raised = asyncio.Event()
        self._alarm = alarm = asyncio.create_task(_alarmed(member, child, for_s, raised))
        waiting = asyncio.create_task(raised.wait())
        await asyncio.wait({alarm, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if alarm.done():
            alarm.result()
        return Effect(name=self.name, fault="alarm", pid=child.pid, for_s=for_s)

    async def close(self) -> None:
        """Nothing is under way, and no alarm is left, when this returns."""
        for task in (self._alarm, self._restarting):
            await self._end(task)

    async def _replace(self, child: Child, wanted: Restart) -> None:
        await ENDINGS[wanted.how](child)
        await asyncio.sleep(wanted.hold_s)
        await self._member.revive()
        self._restarts += 1

    async def _end(self, task: asyncio.Task[None] | None) -> None:
        if task:
            task.cancel()
            await to_the_end(asyncio.gather(task, return_exceptions=True))

    def _child(self) -> Child | None:
        """None while it is away: until it is ready again, if it was sent away."""
        child = self._member.child
        away = self._restarting is not None and not self._restarting.done()
        return child if child and child.status is None and not away else None

    def _running(self) -> Child:
        child = self._child()
        if child is None:
            raise NotRunning(f"{self.name} is down")
        return child


async def _killed(child: Child) -> None:
    child.send(signal.SIGKILL)
    await child.wait()


async def _stopped(child: Child) -> None:
    await child.stop(GRACE_S)


ENDINGS: Mapping[Ending, Callable[[Child], Awaitable[None]]] = {Ending.KILL: _killed, Ending.STOP: _stopped}


async def _alarmed(member: Alarmed, child: Child, for_s: float, raised: asyncio.Event) -> None:
    """However this ends, the limit is afterwards what is configured."""
    try:
        await member.limit_memory(TOO_LITTLE)
        raised.set()
        await asyncio.sleep(for_s)
    finally:
        await _lift(member, child)


async def _lift(member: Alarmed, child: Child) -> None:
    """A node that ends in the meantime takes the limit with it."""
    async with asyncio.timeout(LIFTED_WITHIN_S):
        while child.status is None:
            try:
                await member.limit_memory(None)
            except Trouble:
                await asyncio.sleep(AGAIN_S)
            else:
                return


@asynccontextmanager
async def kept(parts: Parts) -> AsyncIterator[Mapping[str, KeptPart]]:
    """Those of the parts that are ours, by name."""
    versions = {"broker": parts.broker.version, "database": parts.database.version}
    ours = {name: KeptPart(name, versions[name.partition("-")[0]], member) for name, member in parts.ours.items()}
    try:
        yield ours
    finally:
        for part in ours.values():
            await part.close()
