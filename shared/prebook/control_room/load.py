"""Load for the page: a process of the lab that offers rides, started, instructed and ended by the console.

Instructions go to its standard input and progress comes from its standard output, a JSON object a line each.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec
from litestar import Response, delete, get, put
from litestar.params import Body
from litestar.types import ControllerRouterHandler

from prebook.contracts.back_pressure import BackPressureChange
from prebook.control_room.feed import Feed
from prebook.control_room.load_contract import LoadPhase, LoadProgress, LoadSettings, LoadState
from prebook.control_room.upstream import Upstream
from prebook.http.bodies import StrictBody

WORKER = (sys.executable, "-m", "prebook.cli", "load", "worker")
END_TIMEOUT_S = 3.0
"""Seconds for the worker to end once the console ends; it is killed after them."""
PATH = "/v1/load"
BACK_PRESSURE_PATH = "/v1/back-pressure"
S = TypeVar("S")
StartWorker = Callable[[], Awaitable[Process]]


def worker_with(environment: Mapping[str, str]) -> StartWorker:
    """Return a function that starts the process that offers rides, with additional variables."""

    async def start_worker() -> Process:
        variables = {**os.environ, **environment}
        return await asyncio.create_subprocess_exec(*WORKER, env=variables, stdin=PIPE, stdout=PIPE, stderr=PIPE)

    return start_worker


class LoadDesk:
    """Starts, changes and stops one load, and publishes its state."""

    def __init__(self, feed: Feed, start: StartWorker) -> None:
        self._feed = feed
        self._start = start
        self._process: Process | None = None
        self._following: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self.state = LoadState()
        self._publish()

    async def set(self, settings: LoadSettings) -> LoadState:
        """Start a load with these settings, or change the one that runs to them from now on."""
        async with self._changing:
            process = self._process
            if process is None or process.returncode is not None or self.state.phase is LoadPhase.ENDING:
                await self._end()
                process = self._process = await self._start()
                self._following = asyncio.create_task(self._follow(process))
                self._update(LoadState(phase=LoadPhase.RUNNING, settings=settings, started_at=datetime.now(UTC)))
            else:
                self._update(msgspec.structs.replace(self.state, settings=settings))
            _piped(process.stdin).write(msgspec.json.encode(settings) + b"\n")
        return self.state

    async def stop(self) -> LoadState:
        """Offer no more rides. Those that are offered go on, and are counted."""
        async with self._changing:
            if self.state.phase is LoadPhase.RUNNING and self._process and self._process.stdin:
                self._process.stdin.close()
                self._update(msgspec.structs.replace(self.state, phase=LoadPhase.ENDING))
        return self.state

    async def close(self) -> None:
        """End the worker."""
        await self._end()

    async def _end(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.terminate()
        if self._following:
            await asyncio.wait([self._following], timeout=END_TIMEOUT_S)
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _follow(self, process: Process) -> None:
        errors = asyncio.create_task(_piped(process.stderr).read())
        async for line in _piped(process.stdout):
            self._update(msgspec.structs.replace(self.state, progress=msgspec.json.decode(line, type=LoadProgress)))
        status = await process.wait()
        text = " ".join((await errors).decode(errors="replace").split())[-500:]
        if self.state.phase is LoadPhase.RUNNING:
            error = text or f"the load generator ended with status {status}"
            self._update(msgspec.structs.replace(self.state, phase=LoadPhase.FAILED, error=error))
        else:
            self._update(msgspec.structs.replace(self.state, phase=LoadPhase.IDLE))

    def _update(self, state: LoadState) -> None:
        self.state = state
        self._publish()

    def _publish(self) -> None:
        self._feed.publish({"load": msgspec.to_builtins(self.state)}, are_figures=False)


def _piped(stream: S | None) -> S:
    """Return a stream of a process that was started with pipes. Raises ValueError if it was not."""
    if stream is None:
        raise ValueError("start the worker with pipes for all of its streams")
    return stream


def load_routes(desk: LoadDesk, booking: Upstream) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers of the load, and of back pressure, which booking switches at its internal listener."""

    @get(PATH, summary="Get the settings and the progress of the load")
    async def get_load() -> LoadState:
        return desk.state

    @put(PATH, summary="Start a load, or change the one that runs", dto=StrictBody[LoadSettings], return_dto=None)
    async def put_load(data: Annotated[LoadSettings, Body()]) -> LoadState:
        return await desk.set(data)

    @delete(PATH, status_code=200, summary="Offer no more rides")
    async def stop_load() -> LoadState:
        return await desk.stop()

    @get(BACK_PRESSURE_PATH, summary="Get whether booking refuses rides under overload")
    async def get_back_pressure() -> Response[bytes]:
        return await booking.call("GET", BACK_PRESSURE_PATH)

    @put(
        BACK_PRESSURE_PATH,
        summary="Switch back pressure on, off, or to what is configured",
        dto=StrictBody[BackPressureChange],
        return_dto=None,
    )
    async def switch_back_pressure(data: Annotated[BackPressureChange, Body()]) -> Response[bytes]:
        return await booking.call("PUT", BACK_PRESSURE_PATH, body=data)

    return [get_load, put_load, stop_load, get_back_pressure, switch_back_pressure]
