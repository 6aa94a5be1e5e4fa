"""Registration of the experiment: trips are split and aggregated while processes are killed."""

import random
import secrets
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import rich_click as click

from prebook.asyncio_tools import first_error_task_group
from prebook.contracts.trip_http import TripRequest
from prebook.devstack.errors import UserError
from prebook.devstack.supervisor.contract import NotRunning
from prebook.flows import SERVICES
from prebook.lab.bench.testbed import wait_until
from prebook.lab.chaos.database import is_at_rest
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.forked import log_tails, start_forked, wait_for_exit
from prebook.lab.experiments.service_processes import ServiceProcesses
from prebook.lab.experiments.testbed import RETRY_HINT, connect_as_admin
from prebook.lab.experiments.trips import in_memory_aggregator
from prebook.lab.experiments.trips.facts import list_conversations, list_trip_keys, read_trips
from prebook.lab.experiments.trips.in_memory_aggregator import AggregatorSpec
from prebook.lab.experiments.trips.laws import (
    COMPENSATED,
    COMPLETED_ONCE,
    GROUPS,
    LEGS,
    NO_ORPHANS,
    NOT_LOST,
    SAME_STATE,
    TripsSeen,
    groups_by_status,
    orphan_checks,
    state_hash,
    trip_checks,
)
from prebook.lab.experiments.trips.riders import LEGS_PER_TRIP, book_trips, trip_request
from prebook.lab.load.rides import campaign_week

REST_TIMEOUT_S = 300.0
"""Seconds after the last request within which every trip must have come to rest."""
RESTART_TIMEOUT_S = 60.0
"""Seconds within which a killed process must run again."""
REST_INTERVAL_S = 0.5
UNDISTURBED = "without kills"
DISTURBED = "with kills"


class TripsSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: number of trips, and of processes killed while they are booked."""

    trips: int = 1_000
    kills: int = 20


@dataclass(frozen=True)
class TripsRun:
    """Running services, their database, and the requests for all trips."""

    run: ExperimentRun
    services: ServiceProcesses
    database: asyncpg.Connection
    requests: Sequence[TripRequest]

    async def observe(self, prefix: str, batches: int, victims: Sequence[str]) -> TripsSeen:
        """Book all trips in batches, kill one process during each, and return what is there when all is at rest."""
        size = -(-len(self.requests) // batches)
        accepted: list[str] = []
        for number in range(batches):
            batch = self.requests[number * size : (number + 1) * size]
            async with first_error_task_group() as tasks:
                booking = tasks.create_task(self._book(batch, prefix, number * size))
                if victims:
                    tasks.create_task(self._kill(victims[number]))
            accepted += booking.result()
            self.run.log(f"{prefix}: {len(accepted)} of {len(self.requests)} trips accepted")
        await self._wait_until_at_rest(prefix)
        return TripsSeen(accepted, LEGS_PER_TRIP, await read_trips(self.database, prefix))

    async def _book(self, batch: Sequence[TripRequest], prefix: str, first: int) -> list[str]:
        access = self.services.access
        return await book_trips(access.session, access.addresses.public["booking"], batch, prefix, first)

    async def _kill(self, victim: str) -> None:
        """Kill a process as soon as it runs: an earlier kill may have ended it."""

        async def is_killed() -> bool:
            with suppress(NotRunning):
                await self.services.kill(victim)
                return True
            return False

        await wait_until(is_killed, RESTART_TIMEOUT_S, REST_INTERVAL_S)
        self.run.log(f"killed {victim}")

    async def _wait_until_at_rest(self, prefix: str) -> None:
        """Wait until no message of the trips is under way; a trip without an outcome then has lost one."""

        async def at_rest() -> bool:
            ids = await list_conversations(self.database, prefix)
            url = self.run.testbed.context.database_url
            return await is_at_rest(url, ids) and await self._has_no_open_trip(prefix)

        try:
            await wait_until(at_rest, REST_TIMEOUT_S, REST_INTERVAL_S)
        except TimeoutError:
            self.run.log(f"{prefix}: not at rest within {REST_TIMEOUT_S:g} s")

    async def _has_no_open_trip(self, prefix: str) -> bool:
        return all(trip.completed_by is not None for trip in await read_trips(self.database, prefix))


async def measure(run: ExperimentRun, size: TripsSize) -> Measurement:
    """Book the same trips without kills, and with kills and an aggregator in memory beside booking's."""
    week = campaign_week(datetime.now(UTC))
    requests = [trip_request(run.seed, number, week) for number in range(size.trips)]
    rng = random.Random(f"kills:{run.seed}")
    victims = [rng.choice(SERVICES) for _ in range(size.kills)]
    name = f"t{secrets.token_hex(4)}"
    amqp_url = run.testbed.stack.broker.amqp_url
    completed_file = run.testbed.context.work_dir / f"{name}-completed"
    async with (
        connect_as_admin(run.testbed.context.database_url) as database,
        ServiceProcesses.run(run.testbed, SERVICES) as services,
    ):
        trips = TripsRun(run, services, database, requests)
        undisturbed = await trips.observe(f"{name}u-", size.kills, ())
        async with in_memory_aggregator.declare_queue(amqp_url), first_error_task_group() as tasks:
            tasks.create_task(_aggregate_in_memory(amqp_url, completed_file, size.trips))
            disturbed = await trips.observe(f"{name}k-", size.kills, victims)
            await in_memory_aggregator.send_end(amqp_url)
        keys = await list_trip_keys(database, f"{name}k-")
    completed = in_memory_aggregator.read_completed(completed_file, keys)
    caption = f"{len(victims)} processes killed; in memory, {len(completed)} groups got a result"
    return Measurement(
        checks=[*trip_checks(disturbed, undisturbed), *orphan_checks(disturbed, completed)],
        tables=[_table(undisturbed, disturbed, caption)],
        details={"state_hash": state_hash(disturbed), "victims": victims, "completed_in_memory": len(completed)},
    )


async def _aggregate_in_memory(amqp_url: str, completed_file: Path, dies_after: int) -> None:
    """Run the wrong way: it is killed once, and started again.

    Raises:
        UserError: a process ended otherwise.
    """
    log_file = completed_file.with_suffix(".log")
    for expected, dying in ((-signal.SIGKILL, dies_after), (0, 0)):
        spec = AggregatorSpec(amqp_url, str(completed_file), str(log_file), dying)
        with start_forked(in_memory_aggregator.run, [spec]) as (process,):
            await wait_for_exit(process)
            process.join()
            status = process.exitcode
        if status != expected:
            text = f"the aggregator in memory ended with status {status} instead of {expected}"
            raise UserError(f"{text}; end of its log: {log_tails([log_file])}", RETRY_HINT)


def _table(undisturbed: TripsSeen, disturbed: TripsSeen, caption: str) -> ResultTable:
    columns = ("run", "accepted", "legs", "complete", "partial", "open", "state hash")
    return ResultTable(
        title="Trips",
        columns=columns,
        rows=(_row(UNDISTURBED, undisturbed), _row(DISTURBED, disturbed)),
        caption=caption,
    )


def _row(name: str, seen: TripsSeen) -> tuple[str, ...]:
    groups = groups_by_status(seen.trips)
    legs = sum(len(trip.legs) for trip in seen.trips)
    return (name, *map(str, (len(seen.accepted), legs, *groups.values())), state_hash(seen)[:12])


TRIPS = Experiment(
    name="trips",
    section=Section.PATTERNS,
    claims=("D3",),
    pattern="Splitter; Aggregator (EIP)",
    code="shared/prebook/patterns/aggregator.py",
    claim="A trip is split into bookings and aggregated to one outcome, whatever process is killed.",
    varies="kills of services while trips are booked; an aggregate in the database or in memory",
    law=f"{NOT_LOST}; {COMPLETED_ONCE}; {LEGS}; {GROUPS}; {COMPENSATED}; {SAME_STATE}; {NO_ORPHANS}",
    wrong_way="an aggregator in memory that acknowledges each outcome, killed once with a group open",
    expected="Every trip has its outcome once, the same as without kills. In memory, groups never get one.",
    full=TripsSize(),
    quick=TripsSize(trips=60, kills=4),
    options=(
        SizeOption("trips", click.IntRange(8), "Number of trips of three legs."),
        SizeOption("kills", click.IntRange(1), "Number of processes that are killed, one for each batch of trips."),
    ),
    measure=measure,
    worker_modules=(in_memory_aggregator.__name__,),
    time_limit_s=1_800.0,
    quick_time_limit_s=400.0,
)
