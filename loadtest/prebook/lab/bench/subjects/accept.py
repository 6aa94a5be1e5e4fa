"""A booking taken in: its key, the booking, its first question and that one's deadline in one transaction."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from prebook.contracts.booking import BookingRequest
from prebook.devstack.errors import UserError
from prebook.devstack.ports import allocate_ports
from prebook.lab.bench.baselines import accept as baseline
from prebook.lab.bench.components.booking_api import BookingAssembly, assemble_booking
from prebook.lab.bench.rounds import RoundFigures, RoundRunner, run_interleaved
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row
from prebook.lab.bench.subjects.http import base_url, construct, cpu_note, run_server
from prebook.lab.bench.testbed import BenchTestbed
from prebook.lab.bench.uvloop_thread import CoroutineRunner, start_uvloop_thread
from prebook.lab.bench.workload import run_closed_loop
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import MAX_OVERFLOW, POOL_SIZE

if TYPE_CHECKING:
    import asyncio

    import asyncpg

RIDES = 3_000
CONCURRENCY = 16
ACCEPTED = 202
BACK_PRESSURE_OFF = {"PREBOOK_BACK_PRESSURE": "off"}
"""Nobody answers here what is asked."""
TABLES = ("booking", "idempotency_record", "outbox", "pending_reply")
USE_CASE = Benchmark(
    f"accept of a booking, {CONCURRENCY} connections: key, state, outbox, deadline in one transaction",
    "rides/s",
    Better.HIGHER,
    "the same rows by hand (asyncpg, prepared statements)",
    0.7,
    "ours looks up what comes before a row of its key, and hands the row to its relay",
)
HTTP_API = Benchmark(
    f"POST /v1/bookings of an asynchronous plan, {CONCURRENCY} in flight",
    "rides/s",
    Better.HIGHER,
    "bare ASGI application, the same rows by hand",
    0.5,
    "ours checks the body, admits it or not, answers with links, and counts, times and logs the request",
)


def booking_body(number: int) -> dict[str, Any]:
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
class CheckedRounds:
    """Rounds with keys that no other round has, each on empty tables, and looked at afterwards."""

    database: "asyncpg.Connection[Any]"
    round_numbers: dict[str, int] = field(default_factory=dict)

    def wrap(self, side: str, run: Callable[[str], Awaitable[RoundFigures]]) -> RoundRunner:
        async def counted() -> RoundFigures:
            self.round_numbers[side] = self.round_numbers.get(side, 0) + 1
            await self.database.execute(f"TRUNCATE {', '.join(f'booking.{table}' for table in TABLES)}")
            figures = await run(f"{side}-{self.round_numbers[side]}")
            await self._verify_rows(side)
            return figures

        return counted

    async def _verify_rows(self, side: str) -> None:
        found = [await self.database.fetchval(f"SELECT count(*) FROM booking.{table}") for table in TABLES]  # noqa: S608
        if set(found) != {RIDES}:
            raise UserError(
                f"{side} has left {dict(zip(TABLES, found, strict=True))}, not {RIDES} of each", "report this"
            )


@asynccontextmanager
async def open_use_cases(
    testbed: BenchTestbed, run_there: CoroutineRunner, checked_rounds: CheckedRounds
) -> AsyncIterator[Mapping[str, RoundRunner]]:
    env = {**testbed.envs["booking"], **BACK_PRESSURE_OFF}
    service: BookingAssembly = await run_there(construct(lambda: assemble_booking(env, pool=CONCURRENCY)))
    prebooking = await run_there(construct(service.book_ride))
    stack = AsyncExitStack()
    await run_there(stack.enter_async_context(service.close_after()))
    idle: asyncio.Queue[baseline.AcceptBooking] = await run_there(
        stack.enter_async_context(baseline.open_pool(asyncpg_dsn(env["PREBOOK_DATABASE_URL"]), CONCURRENCY))
    )

    async def ours(number: int, run: str) -> None:
        request = msgspec.convert(booking_body(number), BookingRequest)
        if (await prebooking.book(f"{run}-{number}", request, "")).status != ACCEPTED:
            raise UserError("a booking was not accepted", "report this")

    async def theirs(number: int, run: str) -> None:
        request = booking_body(number)
        accept = await idle.get()
        await accept(f"{run}-{number}", request, str(number).encode())
        idle.put_nowait(accept)

    try:
        yield {
            "ours": checked_rounds.wrap(
                "ours", lambda run: run_there(run_closed_loop(partial(ours, run=run), RIDES, CONCURRENCY))
            ),
            "baseline": checked_rounds.wrap(
                "baseline", lambda run: run_there(run_closed_loop(partial(theirs, run=run), RIDES, CONCURRENCY))
            ),
        }
    finally:
        await run_there(stack.aclose())


@asynccontextmanager
async def open_apis(
    testbed: BenchTestbed, run_there: CoroutineRunner, checked_rounds: CheckedRounds
) -> AsyncIterator[Mapping[str, RoundRunner]]:
    env = {**testbed.envs["booking"], **BACK_PRESSURE_OFF}
    hand = {
        "BENCH_DSN": asyncpg_dsn(env["PREBOOK_DATABASE_URL"]),
        "BENCH_MAX_CONNECTIONS": str(POOL_SIZE + MAX_OVERFLOW),
    }
    ours, theirs = allocate_ports(2)
    session: aiohttp.ClientSession = await run_there(construct(aiohttp.ClientSession))
    async with (
        run_server(testbed, ours, "prebook.lab.bench.components.booking_api", env=env) as service,
        run_server(testbed, theirs, "prebook.lab.bench.baselines.accept", env=hand) as by_hand,
    ):
        yield {
            "ours": checked_rounds.wrap("ours", lambda run: run_there(post_bookings(session, ours, service.pid, run))),
            "baseline": checked_rounds.wrap(
                "baseline", lambda run: run_there(post_bookings(session, theirs, by_hand.pid, run))
            ),
        }
    await run_there(session.close())


async def post_bookings(session: aiohttp.ClientSession, port: int, pid: int, run: str) -> RoundFigures:
    async def one(number: int) -> None:
        headers = {"idempotency-key": f"{run}-{number}"}
        async with session.post(f"{base_url(port)}/v1/bookings", json=booking_body(number), headers=headers) as answer:
            if answer.status != ACCEPTED:
                raise UserError(f"a booking was answered {answer.status}: {await answer.text()}", "report this")
            await answer.read()

    return await run_closed_loop(one, RIDES, CONCURRENCY, pid)


BENCHMARKS = ((USE_CASE, open_use_cases), (HTTP_API, open_apis))


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    rows = []
    async with testbed.database() as database, start_uvloop_thread() as there:
        for measure, sides in BENCHMARKS:
            async with sides(testbed, there, CheckedRounds(database)) as both:
                found = await run_interleaved(both, rounds)
            noted = replace(measure, note="; ".join(cpu_note(side, figures) for side, figures in found.items()))
            rows.append(bench_row(noted, found["ours"]["per_s"], found["baseline"]["per_s"]))
    return rows
