"""A synchronous call through our channel and HTTP endpoint, beside the bare client and the least of an application."""

import importlib.util
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from statistics import median
from typing import Any, TypeVar

import aiohttp
import httpx
import msgspec
from httpx_aiohttp import AiohttpTransport

from prebook.contracts.message import Unavailable
from prebook.contracts.plan import Coupling
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.coupling.sync_api import SyncApi
from prebook.devstack.errors import UserError
from prebook.devstack.ports import LOOPBACK, allocate_ports
from prebook.flows import FLOWS
from prebook.http.client import ServiceClient
from prebook.lab.bench.messages import fare_request
from prebook.lab.bench.rounds import RoundRunner, run_interleaved
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row, unmeasured_row
from prebook.lab.bench.testbed import READY_TIMEOUT_S, BenchTestbed, ModuleProcess, wait_until
from prebook.lab.bench.uvloop_thread import CoroutineRunner, start_uvloop_thread
from prebook.lab.bench.workload import run_closed_loop
from prebook.runtime import settings

CALLS = 4_000
IN_FLIGHT = 64
PLAN = dict.fromkeys(FLOWS, Coupling.SYNC_API)
NAME = f"sync flow through channel and HTTP endpoint, {IN_FLIGHT} in flight"
NOTE = "ours checks, times, counts and logs each call, and knows it by its id"
BARE_CLIENT = Benchmark(NAME, "calls/s", Better.HIGHER, "httpx on aiohttp's transport -> Starlette", 0.85, NOTE)
STOCK_CLIENT = Benchmark(f"{NAME}, beside what is usual", "calls/s", Better.HIGHER, "stock httpx -> FastAPI", 3.0, NOTE)
T = TypeVar("T")
LIMITS = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
ClientFactory = Callable[[str], httpx.AsyncClient]


def bare_client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, transport=AiohttpTransport(limits=LIMITS, trust_env=False), trust_env=False)


def stock_client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, limits=LIMITS)


BASELINES: Mapping[str, tuple[Benchmark, ClientFactory]] = {
    "starlette": (BARE_CLIENT, bare_client),
    "fastapi": (STOCK_CLIENT, stock_client),
}


@asynccontextmanager
async def open_suite_side(testbed: BenchTestbed, run_there: CoroutineRunner) -> AsyncIterator[RoundRunner]:
    port = allocate_ports(1)[0]
    env = testbed.envs["pricing"]
    given, policies = settings.read_settings({**env, "PREBOOK_URL_PRICING": base_url(port)})
    http: ServiceClient = await run_there(construct(lambda: ServiceClient(given.urls)))
    channel = SyncApi(http, policies, ReplyWaiters())
    request = replace(fare_request("", conversation_id=""), plan=PLAN, reply_to="")

    async def call(number: int) -> None:
        answer = await channel.send(replace(request, id=f"ride-{number}.quote_fare", conversation_id=f"ride-{number}"))
        if answer is None or isinstance(answer.body, Unavailable):
            raise UserError("a call was not answered", "report this, with the log of the HTTP endpoint")

    async with run_server(testbed, port, "prebook.lab.bench.components.http_endpoint", env=env) as server:
        yield lambda: run_there(run_closed_loop(call, CALLS, IN_FLIGHT, server.pid))
    await run_there(http.close())


@asynccontextmanager
async def open_baseline_side(
    testbed: BenchTestbed, run_there: CoroutineRunner, name: str, make_client: ClientFactory
) -> AsyncIterator[RoundRunner]:
    port = allocate_ports(1)[0]
    request: dict[str, Any] = msgspec.to_builtins(fare_request("", conversation_id="").body)
    session: httpx.AsyncClient = await run_there(construct(lambda: make_client(base_url(port))))

    async def call(_: int) -> None:
        answer = await session.post("/quote", json=request)
        answer.raise_for_status().json()

    async with run_server(testbed, port, "prebook.lab.bench.baselines.quote_apps", name) as app:
        yield lambda: run_there(run_closed_loop(call, CALLS, IN_FLIGHT, app.pid))
    await run_there(session.aclose())


async def construct(make: Callable[[], T]) -> T:
    """There, where the loop is that it is for."""
    return make()


@asynccontextmanager
async def run_server(
    testbed: BenchTestbed, port: int, *args: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[ModuleProcess]:
    async with testbed.run_module(*args, env={**(env or {}), "BENCH_PORT": str(port)}) as server:
        await wait_until(lambda: is_listening(port), READY_TIMEOUT_S)
        yield server


async def is_listening(port: int) -> bool:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"{base_url(port)}/livez"):
                return True
        except aiohttp.ClientError:
            return False


def base_url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    return [await measure_beside(testbed, name, rounds) for name in BASELINES]


async def measure_beside(testbed: BenchTestbed, name: str, rounds: int) -> BenchRow:
    measure, caller = BASELINES[name]
    if importlib.util.find_spec(name) is None:
        return unmeasured_row(measure, f"{name} cannot be imported; install it where PYTHONPATH finds it")
    async with (
        start_uvloop_thread() as there,
        open_suite_side(testbed, there) as mine,
        open_baseline_side(testbed, there, name, caller) as theirs,
    ):
        found = await run_interleaved({"ours": mine, "baseline": theirs}, rounds)
    noted = replace(measure, note="; ".join(cpu_note(side, figures) for side, figures in found.items()))
    return bench_row(noted, found["ours"]["per_s"], found["baseline"]["per_s"])


def cpu_note(side: str, figures: Mapping[str, Any]) -> str:
    """Of the processor, beside the figure itself."""
    here = median(figures["client_cpu_us"])
    there = median(figures["server_cpu_us"])
    return f"{side}: {here:.0f} us of processor time each here, {there:.0f} in the process that is asked"
