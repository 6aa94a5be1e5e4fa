"""The supervisor's control API, as the campaign uses it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec

from prebook.devstack.supervisor.contract import FaultEffect, ProcessInfo, ProcessState
from tests.conditions import eventually
from tests.integration.suite import Suite


class Control:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def processes(self) -> dict[str, ProcessInfo]:
        answer = await self._http.get("/processes")
        return {info.name: info for info in msgspec.json.decode(answer.content, type=list[ProcessInfo])}

    async def kill(self, name: str, down_s: float = 0.0) -> FaultEffect:
        answer = await self._http.post(f"/processes/{name}/kill", json={"down_s": down_s})
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=FaultEffect)

    async def pid(self, name: str) -> int:
        pid = (await self.processes())[name].pid
        assert pid is not None, f"{name} does not run"
        return pid

    async def all_run(self, within_s: float = 30.0) -> None:
        """Every process has said that it is ready."""

        async def run() -> bool:
            return {info.state for info in (await self.processes()).values()} == {ProcessState.RUNNING}

        await eventually(run, within_s)


@asynccontextmanager
async def controlled(suite: Suite) -> AsyncIterator[Control]:
    bearer = {"Authorization": f"Bearer {suite.where.control_token}"}
    async with httpx.AsyncClient(base_url=suite.where.control_url, headers=bearer, trust_env=False) as http:
        yield Control(http)
