"""Whole suite in its own processes, as `prebook up` starts it, from this checkout or another one."""

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

from prebook.devstack.child_process import ChildProcess, Command, spawn
from prebook.devstack.errors import UserError
from prebook.devstack.ports import allocate_ports, is_free
from prebook.devstack.service_environment import count_ports
from prebook.devstack.suite_state import STATE_FILE, SuiteState
from prebook.devstack.supervisor.contract import ProcessInfo
from prebook.lab.bench.testbed import wait_until
from prebook.postgres.dsn import asyncpg_dsn

STARTUP_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class BenchSuite:
    """A running suite. ``database``: an administrator's connection."""

    state: SuiteState
    database: asyncpg.Connection
    session: aiohttp.ClientSession

    async def read_processes(self) -> list[ProcessInfo]:
        """Return the services' processes as the supervisor lists them."""
        async with self.session.get(f"{self.state.control_url}/processes", headers=self._headers) as response:
            return msgspec.json.decode(await response.read(), type=list[ProcessInfo])

    async def kill(self, name: str) -> None:
        """Kill a process with SIGKILL; the supervisor restarts it.

        Raises:
            aiohttp.ClientError: The supervisor refused or could not be reached.
        """
        url = f"{self.state.control_url}/processes/{name}/kill"
        async with self.session.post(url, headers=self._headers, raise_for_status=True):
            pass

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.state.control_token}"}

    async def read_pids(self) -> dict[str, int]:
        """Return the process ids of all services, ``broker`` and ``database``, by name.

        Raises:
            UserError: Broker or database run outside the suite, for example in a container.
        """
        pids = {process.name: process.pid for process in await self.read_processes()}
        pids |= {"broker": self.state.broker_pid, "database": self.state.database_pid}
        if missing := [name for name, pid in pids.items() if pid is None]:
            raise UserError(f"{', '.join(missing)}: not a local process", "set PREBOOK_STACK=local and run it again")
        return {name: pid for name, pid in pids.items() if pid}


@asynccontextmanager
async def start_suite(
    home: Path, *, checkout: Path | None = None, replicas: int = 1, env: Mapping[str, str] | None = None
) -> AsyncIterator[BenchSuite]:
    """Run a suite until the block ends.

    ``home``: folder for its data and logs. ``checkout``: root of another checkout whose code it runs.

    Raises:
        UserError: The suite did not start within STARTUP_TIMEOUT_S seconds.
    """
    child, command = await _spawn_suite(home, checkout, replicas, env or {})
    try:
        state = await _await_state(home, child, command)
        database = await asyncpg.connect(asyncpg_dsn(state.database_url))
        async with aiohttp.ClientSession() as session:
            yield BenchSuite(state, database, session)
        await database.close()
    finally:
        await child.stop(STOP_TIMEOUT_S)


async def _spawn_suite(
    home: Path, checkout: Path | None, replicas: int, env: Mapping[str, str]
) -> tuple[ChildProcess, Command]:
    await asyncio.to_thread(home.mkdir, parents=True, exist_ok=True)
    ports = count_ports(replicas)
    arguments = ("up", "--json", "--port-base", str(_find_port_base(ports)), "--replicas", str(replicas))
    child_env = {**os.environ, **(_python_path(checkout) if checkout else {}), **env, "PREBOOK_HOME": str(home)}
    args = (sys.executable, "-m", "prebook.cli", *arguments)
    command = Command(args=args, env=child_env, log_file=home / "output", stop_signal=signal.SIGINT)
    return await spawn(command), command


def _python_path(checkout: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(str(checkout / part) for part in ("services", "shared", "loadtest"))}


def _find_port_base(count: int) -> int:
    """Return the first of ``count`` consecutive free ports."""
    while True:
        (base,) = allocate_ports(1)
        if all(is_free(base + step) for step in range(count)):
            return base


async def _await_state(home: Path, child: ChildProcess, command: Command) -> SuiteState:
    path = home / STATE_FILE

    async def is_started_or_ended() -> bool:
        return await asyncio.to_thread(path.exists) or child.status is not None

    try:
        await wait_until(is_started_or_ended, STARTUP_TIMEOUT_S, 0.2)
    except TimeoutError:
        raise UserError(
            f"the suite did not start within {STARTUP_TIMEOUT_S:g} s: {command.log_tail()}", f"read {command.log_file}"
        ) from None
    if child.status is not None:
        raise UserError(f"the suite did not start: {command.log_tail()}", f"read {command.log_file}")
    return msgspec.json.decode(await asyncio.to_thread(path.read_bytes), type=SuiteState)
