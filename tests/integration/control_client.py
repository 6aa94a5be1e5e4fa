"""Client of the supervisor's control API."""

import os
import signal
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import httpx
import msgspec

from prebook.devstack.supervisor.contract import FaultEffect, ProcessInfo, ProcessState
from tests.conditions import poll_until
from tests.integration.suite import Suite


class ControlClient:
    """Lists and kills the processes of a suite."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def list_processes(self) -> dict[str, ProcessInfo]:
        """Return the supervised processes by name."""
        response = await self._http.get("/processes")
        return {info.name: info for info in msgspec.json.decode(response.content, type=list[ProcessInfo])}

    async def kill(self, name: str, down_s: float = 0.0) -> FaultEffect:
        """Kill a process; the supervisor starts it again after ``down_s`` seconds."""
        response = await self._http.post(f"/processes/{name}/kill", json={"down_s": down_s})
        assert response.status_code == 200, response.text
        return msgspec.json.decode(response.content, type=FaultEffect)

    async def restart_wave(self, number: int, services: Collection[str], timeout_s: float = 120.0) -> None:
        """Stop one replica of each service in an orderly way (SIGTERM), and wait until their successors run.

        ``number``: 1 for the first replica. A service with fewer replicas is left alone.
        """
        names = {service if number == 1 else f"{service}-{number}" for service in services}
        stopped = {name: info.pid for name, info in (await self.list_processes()).items() if name in names}
        for pid in stopped.values():
            assert pid is not None
            os.kill(pid, signal.SIGTERM)

        async def run_again() -> bool:
            infos = await self.list_processes()
            return all(
                infos[name].pid != pid and infos[name].state is ProcessState.RUNNING for name, pid in stopped.items()
            )

        await poll_until(run_again, timeout_s, 0.2)

    async def read_pid(self, name: str) -> int:
        """Return the process id of a running process."""
        pid = (await self.list_processes())[name].pid
        assert pid is not None, f"{name} is not running"
        return pid

    async def wait_until_all_running(self, timeout_s: float = 30.0) -> None:
        """Wait until every process has reported that it is ready."""

        async def all_running() -> bool:
            return {info.state for info in (await self.list_processes()).values()} == {ProcessState.RUNNING}

        await poll_until(all_running, timeout_s)


@asynccontextmanager
async def open_control(suite: Suite) -> AsyncIterator[ControlClient]:
    """Open a client of a suite's control API for the duration of the block."""
    bearer = {"Authorization": f"Bearer {suite.state.control_token}"}
    async with httpx.AsyncClient(base_url=suite.state.control_url, headers=bearer, trust_env=False) as http:
        yield ControlClient(http)
