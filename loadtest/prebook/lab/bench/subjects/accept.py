"""Acceptance of a booking: idempotency record, booking, first request and its deadline in one transaction."""

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
from prebook.lab.bench.testbed import BUG_REMEDY, BenchTestbed
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
"""Settings of booking: no service replies here, so that load shedding would refuse bookings."""
TABLES = ("booking", "idempotency_record", "outbox", "pending_reply")
USE_CASE = Benchmark(
    f"accept a booking, {CONCURRENCY} connections: key, state, outbox and deadline in one transaction",
    "rides/s",
    Better.HIGHER,
    "the same rows, hand-written (asyncpg, prepared statements)",
    0.7,
    "ours checks for earlier rows of the ordering key, and hands the row to its relay",
)
HTTP_API = Benchmark(
    f"POST /v1/bookings of an asynchronous plan, {CONCURRENCY} in flight",
    "rides/s",
    Better.HIGHER,
    "bare ASGI application, the same rows, hand-written",
    0.5,
    "ours validates the body, applies admission control, responds with links, and counts, times and logs the request",
)


def booking_body(number: int) -> dict[str, Any]:
    """Return the body of a booking request; ``number`` selects the rider."""
    pickup_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    return {
        "rider_id": f"rider-{number % 500}",
        "pickup": {"lat": 52.52, "lon": 13.40},
        "dropoff": {"lat": 52.36, "lon": 13.51},
        "pickup_at": pickup_at.isoformat(),
        "vehicle_class": "standard",
        "passengers": 2,
    }


@dataclass
class CheckedRounds:
    """Runs each round on empty tables with its own idempotency keys, and checks the rows afterwards."""

    database: "asyncpg.Connection[Any]"
    round_numbers: dict[str, int] = field(default_factory=dict)

    def wrap(self, side: str, run: Callable[[str], Awaitable[RoundFigures]]) -> RoundRunner:
        """Return a round of ``side``. ``run``: measures one round, given the prefix of its idempotency keys."""

        async def run_checked() -> RoundFigures:
            self.round_numbers[side] = self.round_numbers.get(side, 0) + 1
            await self.database.execute(f"TRUNCATE {', '.join(f'booking.{table}' for table in TABLES)}")
            figures = await run(f"{side}-{self.round_numbers[side]}")
            await self._verify_rows(side)
            return figures

        return run_checked

    async def _verify_rows(self, side: str) -> None:
        counts = [await self.database.fetchval(f"SELECT count(*) FROM booking.{table}") for table in TABLES]  # noqa: S608
        if set(counts) != {RIDES}:
            raise UserError(
                f"{side} inserted {dict(zip(TABLES, counts, strict=True))} rows, not {RIDES} each", BUG_REMEDY
            )


@asynccontextmanager
async def open_use_cases(
    testbed: BenchTestbed, run_there: CoroutineRunner, checked_rounds: CheckedRounds
) -> AsyncIterator[Mapping[str, RoundRunner]]:
    """Open booking's use case and the hand-written one in this process; yield the rounds of both sides."""
    env = {**testbed.envs["booking"], **BACK_PRESSURE_OFF}
    service: BookingAssembly = await run_there(construct(lambda: assemble_booking(env, pool=CONCURRENCY)))
    book_ride = await run_there(construct(service.book_ride))
    stack = AsyncExitStack()
    await run_there(stack.enter_async_context(service.close_after()))
    idle: asyncio.Queue[baseline.AcceptBooking] = await run_there(
        stack.enter_async_context(baseline.open_pool(asyncpg_dsn(env["PREBOOK_DATABASE_URL"]), CONCURRENCY))
    )

    async def book_by_suite(number: int, run: str) -> None:
        request = msgspec.convert(booking_body(number), BookingRequest)
        if (await book_ride.book(f"{run}-{number}", request, "")).status != ACCEPTED:
            raise UserError("a booking was not accepted", BUG_REMEDY)

    async def book_by_baseline(number: int, run: str) -> None:
        request = booking_body(number)
        accept = await idle.get()
        await accept(f"{run}-{number}", request, str(number).encode())
        idle.put_nowait(accept)

    try:
        yield {
            "ours": checked_rounds.wrap(
                "ours", lambda run: run_there(run_closed_loop(partial(book_by_suite, run=run), RIDES, CONCURRENCY))
            ),
            "baseline": checked_rounds.wrap(
                "baseline",
                lambda run: run_there(run_closed_loop(partial(book_by_baseline, run=run), RIDES, CONCURRENCY)),
            ),
        }
    finally:
        await run_there(stack.aclose())


@asynccontextmanager
async def open_apis(
    testbed: BenchTestbed, run_there: CoroutineRunner, checked_rounds: CheckedRounds
) -> AsyncIterator[Mapping[str, RoundRunner]]:
    """Start booking's API and the bare one in processes; yield the rounds of both sides."""
    env = {**testbed.envs["booking"], **BACK_PRESSURE_OFF}
    baseline_env = {
        "BENCH_DSN": asyncpg_dsn(env["PREBOOK_DATABASE_URL"]),
        "BENCH_MAX_CONNECTIONS": str(POOL_SIZE + MAX_OVERFLOW),
    }
    (suite_port, baseline_port) = allocate_ports(2)
    session: aiohttp.ClientSession = await run_there(construct(aiohttp.ClientSession))
    async with (
        run_server(testbed, suite_port, "prebook.lab.bench.components.booking_api", env=env) as suite_api,
        run_server(testbed, baseline_port, "prebook.lab.bench.baselines.accept", env=baseline_env) as baseline_api,
    ):
        yield {
            "ours": checked_rounds.wrap(
                "ours", lambda run: run_there(post_bookings(session, suite_port, suite_api.pid, run))
            ),
            "baseline": checked_rounds.wrap(
                "baseline", lambda run: run_there(post_bookings(session, baseline_port, baseline_api.pid, run))
            ),
        }
    await run_there(session.close())


async def post_bookings(session: aiohttp.ClientSession, port: int, pid: int, run: str) -> RoundFigures:
    """Post RIDES bookings to the API on ``port`` and return the figures. ``pid``: its process."""

    async def post_booking(number: int) -> None:
        headers = {"idempotency-key": f"{run}-{number}"}
        async with session.post(
            f"{base_url(port)}/v1/bookings", json=booking_body(number), headers=headers
        ) as response:
            if response.status != ACCEPTED:
                text = await response.text()
                raise UserError(f"a booking got status {response.status}: {text}", BUG_REMEDY)
            await response.read()

    return await run_closed_loop(post_booking, RIDES, CONCURRENCY, pid)


BENCHMARKS = ((USE_CASE, open_use_cases), (HTTP_API, open_apis))
"""Benchmarks with the functions that open their sides."""


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Measure the acceptance of bookings by the use case and over HTTP."""
    rows = []
    async with testbed.database() as database, start_uvloop_thread() as run_there:
        for benchmark, open_sides in BENCHMARKS:
            async with open_sides(testbed, run_there, CheckedRounds(database)) as sides:
                figures = await run_interleaved(sides, rounds)
            with_note = replace(benchmark, note="; ".join(cpu_note(side, values) for side, values in figures.items()))
            rows.append(bench_row(with_note, figures["ours"]["per_s"], figures["baseline"]["per_s"]))
    return rows
