"""A synchronous call through our channel and inlet, beside the bare client and the least of an application."""

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
from prebook.coupling.reply_waiters import Waiters
from prebook.coupling.sync_api import SyncApi
from prebook.devstack.errors import Trouble
from prebook.devstack.ports import LOOPBACK, free_ports
from prebook.flows import FLOWS
from prebook.http.client import HttpCaller
from prebook.lab.bench.messages import question
from prebook.lab.bench.rounds import Round, interleaved
from prebook.lab.bench.rows import Better, Measure, Row, row, unmeasured
from prebook.lab.bench.testbed import READY_WITHIN_S, Beside, Ground, until
from prebook.lab.bench.uvloop_thread import Apart, apart
from prebook.lab.bench.workload import paced
from prebook.runtime import settings

CALLS, IN_FLIGHT = 4_000, 64
PLAN = dict.fromkeys(FLOWS, Coupling.SYNC_API)
WHAT = f"sync flow through channel and inlet, {IN_FLIGHT} in flight"
BESIDES = "ours checks, times, counts and logs each call, and knows it by its id"
BARE = Measure(WHAT, "calls/s", Better.HIGHER, "httpx on aiohttp's transport -> Starlette", 0.85, BESIDES)
USUAL = Measure(f"{WHAT}, beside what is usual", "calls/s", Better.HIGHER, "stock httpx -> FastAPI", 3.0, BESIDES)
T = TypeVar("T")
LIMITS = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
Caller = Callable[[str], httpx.AsyncClient]


def bare_client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, transport=AiohttpTransport(limits=LIMITS, trust_env=False), trust_env=False)


def stock_client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, limits=LIMITS)


PEERS: Mapping[str, tuple[Measure, Caller]] = {"starlette": (BARE, bare_client), "fastapi": (USUAL, stock_client)}


@asynccontextmanager
async def ours(ground: Ground, there: Apart) -> AsyncIterator[Round]:
    port = free_ports(1)[0]
    env = ground.envs["pricing"]
    given, policies = settings.load({**env, "PREBOOK_URL_PRICING": address(port)})
    http: HttpCaller = await there(made(lambda: HttpCaller(given.urls)))
    channel, asked = SyncApi(http, policies, Waiters()), replace(question("", conversation=""), plan=PLAN, reply_to="")

    async def call(number: int) -> None:
        answer = await channel.send(replace(asked, id=f"ride-{number}.quote_fare", conversation=f"ride-{number}"))
        if answer is None or isinstance(answer.body, Unavailable):
            raise Trouble("a call was not answered", "report this, with the log of the door")

    async with serving(ground, port, "prebook.lab.bench.components.http_endpoint", env=env) as door:
        yield lambda: there(paced(call, CALLS, IN_FLIGHT, door.pid))
    await there(http.close())


@asynccontextmanager
async def peer(ground: Ground, there: Apart, name: str, caller: Caller) -> AsyncIterator[Round]:
    port = free_ports(1)[0]
    asked: dict[str, Any] = msgspec.to_builtins(question("", conversation="").body)
    session: httpx.AsyncClient = await there(made(lambda: caller(address(port))))

    async def call(_: int) -> None:
        answer = await session.post("/quote", json=asked)
        answer.raise_for_status().json()

    async with serving(ground, port, "prebook.lab.bench.baselines.quote_apps", name) as app:
        yield lambda: there(paced(call, CALLS, IN_FLIGHT, app.pid))
    await there(session.aclose())


async def made(make: Callable[[], T]) -> T:
    """There, where the loop is that it is for."""
    return make()


@asynccontextmanager
async def serving(ground: Ground, port: int, *args: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Beside]:
    async with ground.beside(*args, env={**(env or {}), "BENCH_PORT": str(port)}) as server:
        await until(lambda: listens(port), READY_WITHIN_S)
        yield server


async def listens(port: int) -> bool:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"{address(port)}/livez"):
                return True
        except aiohttp.ClientError:
            return False


def address(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


async def measured(ground: Ground, rounds: int) -> list[Row]:
    return [await beside(ground, name, rounds) for name in PEERS]


async def beside(ground: Ground, name: str, rounds: int) -> Row:
    measure, caller = PEERS[name]
    if importlib.util.find_spec(name) is None:
        return unmeasured(measure, f"{name} cannot be imported; install it where PYTHONPATH finds it")
    async with apart() as there, ours(ground, there) as mine, peer(ground, there, name, caller) as theirs:
        found = await interleaved({"ours": mine, "peer": theirs}, rounds)
    noted = replace(measure, note="; ".join(costs(side, figures) for side, figures in found.items()))
    return row(noted, found["ours"]["per_s"], found["peer"]["per_s"])


def costs(side: str, figures: Mapping[str, Any]) -> str:
    """Of the processor, beside the figure itself."""
    here, there = median(figures["here"]), median(figures["there"])
    return f"{side}: {here:.0f} us of processor time each here, {there:.0f} in the process that is asked"
