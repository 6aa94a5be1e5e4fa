"""A whole suite as `prebook up` starts it, in processes of its own; ours, or that of another checkout."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import asyncpg
import msgspec

from prebook.devstack.child_process import Child, Command, spawn
from prebook.devstack.errors import Trouble
from prebook.devstack.ports import free_ports, is_free
from prebook.devstack.suite_state import FILE, Whereabouts
from prebook.devstack.supervisor.contract import ProcessInfo
from prebook.flows import PROCESSES, SERVICES
from prebook.lab.bench.testbed import until

UP_WITHIN_S, STOP_WITHIN_S = 150.0, 30.0


@dataclass(frozen=True)
class Standing:
    """``database`` is an administrator's connection."""

    where: Whereabouts
    database: asyncpg.Connection
    session: aiohttp.ClientSession

    async def processes(self) -> list[ProcessInfo]:
        """What the supervisor says of the services."""
        async with self.session.get(f"{self.where.control_url}/processes", headers=self._known) as answer:
            return msgspec.json.decode(await answer.read(), type=list[ProcessInfo])

    async def kill(self, name: str) -> None:
        """SIGKILL; its supervisor starts it again. Raises aiohttp.ClientError."""
        url = f"{self.where.control_url}/processes/{name}/kill"
        async with self.session.post(url, headers=self._known, raise_for_status=True):
            pass

    @property
    def _known(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.where.control_token}"}

    async def pids(self) -> dict[str, int]:
        """Of every process: services by their names, `broker` and `database`. Raises Trouble."""
        found = {each.name: each.pid for each in await self.processes()}
        found |= {"broker": self.where.broker_pid, "database": self.where.database_pid}
        if missing := [name for name, pid in found.items() if pid is None]:
            raise Trouble(f"{', '.join(missing)}: not a process of ours", "set PREBOOK_STACK=local and run it again")
        return {name: pid for name, pid in found.items() if pid}


@asynccontextmanager
async def standing(
    home: Path, *, checkout: Path | None = None, replicas: int = 1, env: Mapping[str, str] | None = None
) -> AsyncIterator[Standing]:
    """Up until the block ends. ``checkout``: where its code is, if it is not ours. Raises Trouble."""
    child, command = await _started(home, checkout, replicas, env or {})
    try:
        where = await _whereabouts(home, child, command)
        database = await asyncpg.connect(dsn_of(where))
        async with aiohttp.ClientSession() as session:
            yield Standing(where, database, session)
        await database.close()
    finally:
        await child.stop(STOP_WITHIN_S)


def dsn_of(where: Whereabouts) -> str:
    """An administrator's, for another connection."""
    return where.database_url.replace("postgresql+asyncpg://", "postgresql://", 1)


async def _started(home: Path, checkout: Path | None, replicas: int, env: Mapping[str, str]) -> tuple[Child, Command]:
    await asyncio.to_thread(home.mkdir, parents=True, exist_ok=True)
    ports = len(PROCESSES) + 1 + (replicas - 1) * len(SERVICES)
    arguments = ("up", "--json", "--port-base", str(_port_base(ports)), "--replicas", str(replicas))
    given = {**os.environ, **(_code_of(checkout) if checkout else {}), **env, "PREBOOK_HOME": str(home)}
    args = (sys.executable, "-m", "prebook.cli", *arguments)
    command = Command(args=args, env=given, log=home / "output", farewell=signal.SIGINT)
    return await spawn(command), command


def _code_of(checkout: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(str(checkout / part) for part in ("services", "shared", "."))}


def _port_base(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        (base,) = free_ports(1)
        if all(is_free(base + step) for step in range(count)):
            return base


async def _whereabouts(home: Path, child: Child, command: Command) -> Whereabouts:
    path = home / FILE

    async def known() -> bool:
        return await asyncio.to_thread(path.exists) or child.status is not None

    try:
        await until(known, UP_WITHIN_S, 0.2)
    except TimeoutError:
        raise Trouble(f"no suite within {UP_WITHIN_S:g} s: {command.last_words()}", f"read {command.log}") from None
    if child.status is not None:
        raise Trouble(f"the suite did not start: {command.last_words()}", f"read {command.log}")
    return msgspec.json.decode(await asyncio.to_thread(path.read_bytes), type=Whereabouts)
