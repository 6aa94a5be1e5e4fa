"""A booking taken in: its key, the booking, its first question and that one's deadline in one transaction."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from prebook.booking.use_cases.book import Prebooking
from prebook.contracts.booking import BookingRequest
from prebook.devstack.errors import Trouble
from prebook.devstack.ports import free_ports
from prebook.lab.bench.baselines import accept as yardstick
from prebook.lab.bench.components.booking_api import Booking, booking
from prebook.lab.bench.rounds import Figures, Round, interleaved
from prebook.lab.bench.rows import Better, Measure, Row, row
from prebook.lab.bench.subjects.http import address, costs, made, serving
from prebook.lab.bench.testbed import Ground
from prebook.lab.bench.uvloop_thread import Apart, apart
from prebook.lab.bench.workload import paced
from prebook.postgres.engine import OVERFLOW, POOL

if TYPE_CHECKING:
    import asyncio

    import asyncpg

RIDES, AT_ONCE = 3_000, 16
ACCEPTED = 202
UNREFUSED = {"PREBOOK_BACK_PRESSURE": "off"}
"""Nobody answers here what is asked."""
TABLES = ("booking", "claim", "outbox", "awaited")
USE_CASE = Measure(
    f"accept of a booking, {AT_ONCE} connections: key, state, outbox, deadline in one transaction",
    "rides/s",
    Better.HIGHER,
    "the same rows by hand (asyncpg, prepared statements)",
    0.7,
    "ours looks up what comes before a row of its key, and hands the row to its relay",
)
WHOLE = Measure(
    f"POST /v1/bookings of an asynchronous plan, {AT_ONCE} in flight",
    "rides/s",
    Better.HIGHER,
    "bare ASGI application, the same rows by hand",
    0.5,
    "ours checks the body, admits it or not, answers with links, and counts, times and logs the request",
)


def asked(number: int) -> dict[str, Any]:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    return {
        "rider_id": f"rider-{number % 500}",
        "pickup": {"lat": 52.52, "lon": 13.40},
        "dropoff": {"lat": 52.36, "lon": 13.51},
        "pickup_at": at.isoformat(),
        "vehicle_class": "standard",
        "passengers": 2,
    }


@dataclass
class Counted:
    """Rounds with keys that no other round has, each on empty tables, and looked at afterwards."""

    database: "asyncpg.Connection[Any]"
    numbers: dict[str, int] = field(default_factory=dict)

    def of(self, side: str, run: Callable[[str], Awaitable[Figures]]) -> Round:
        async def counted() -> Figures:
            self.numbers[side] = self.numbers.get(side, 0) + 1
            await self.database.execute(f"TRUNCATE {', '.join(f'booking.{table}' for table in TABLES)}")
            figures = await run(f"{side}-{self.numbers[side]}")
            await self._refuse(side)
            return figures

        return counted

    async def _refuse(self, side: str) -> None:
        found = [await self.database.fetchval(f"SELECT count(*) FROM booking.{table}") for table in TABLES]  # noqa: S608
        if set(found) != {RIDES}:
            raise Trouble(
                f"{side} has left {dict(zip(TABLES, found, strict=True))}, not {RIDES} of each", "report this"
            )


@asynccontextmanager
async def use_cases(ground: Ground, there: Apart, counted: Counted) -> AsyncIterator[Mapping[str, Round]]:
    env = {**ground.envs["booking"], **UNREFUSED}
    service: Booking = await there(made(lambda: booking(env, pool=AT_ONCE)))
    prebooking, stack = Prebooking(service.running), AsyncExitStack()
    await there(stack.enter_async_context(service.opened()))
    idle: asyncio.Queue[yardstick.Accept] = await there(
        stack.enter_async_context(yardstick.by_hand(dsn_of(env), AT_ONCE))
    )

    async def ours(number: int, run: str) -> None:
        request = msgspec.convert(asked(number), BookingRequest)
        if (await prebooking.book(f"{run}-{number}", request, "")).status != ACCEPTED:
            raise Trouble("a booking was not accepted", "report this")

    async def theirs(number: int, run: str) -> None:
        request, accept = asked(number), await idle.get()
        await accept(f"{run}-{number}", request, str(number).encode())
        idle.put_nowait(accept)

    try:
        yield {
            "ours": counted.of("ours", lambda run: there(paced(partial(ours, run=run), RIDES, AT_ONCE))),
            "peer": counted.of("peer", lambda run: there(paced(partial(theirs, run=run), RIDES, AT_ONCE))),
        }
    finally:
        await there(stack.aclose())


def dsn_of(env: Mapping[str, str]) -> str:
    return env["PREBOOK_DATABASE_URL"].replace("postgresql+asyncpg://", "postgresql://", 1)


@asynccontextmanager
async def edges(ground: Ground, there: Apart, counted: Counted) -> AsyncIterator[Mapping[str, Round]]:
    env = {**ground.envs["booking"], **UNREFUSED}
    hand = {"BENCH_DSN": dsn_of(env), "BENCH_MOST": str(POOL + OVERFLOW)}
    ours, theirs = free_ports(2)
    session: aiohttp.ClientSession = await there(made(aiohttp.ClientSession))
    async with (
        serving(ground, ours, "prebook.lab.bench.components.booking_api", env=env) as service,
        serving(ground, theirs, "prebook.lab.bench.baselines.accept", env=hand) as peer,
    ):
        yield {
            "ours": counted.of("ours", lambda run: there(posting(session, ours, service.pid, run))),
            "peer": counted.of("peer", lambda run: there(posting(session, theirs, peer.pid, run))),
        }
    await there(session.close())


async def posting(session: aiohttp.ClientSession, port: int, pid: int, run: str) -> Figures:
    async def one(number: int) -> None:
        headers = {"idempotency-key": f"{run}-{number}"}
        async with session.post(f"{address(port)}/v1/bookings", json=asked(number), headers=headers) as answer:
            if answer.status != ACCEPTED:
                raise Trouble(f"a booking was answered {answer.status}: {await answer.text()}", "report this")
            await answer.read()

    return await paced(one, RIDES, AT_ONCE, pid)


SUBJECTS = ((USE_CASE, use_cases), (WHOLE, edges))


async def measured(ground: Ground, rounds: int) -> list[Row]:
    rows = []
    async with ground.database() as database, apart() as there:
        for measure, sides in SUBJECTS:
            async with sides(ground, there, Counted(database)) as both:
                found = await interleaved(both, rounds)
            noted = replace(measure, note="; ".join(costs(side, figures) for side, figures in found.items()))
            rows.append(row(noted, found["ours"]["per_s"], found["peer"]["per_s"]))
    return rows
