"""Measure one machine: cost of a ride at two rates, the knee, and a burst beyond it, on a temporary suite."""

import asyncio
import os
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from prebook.devstack.errors import UserError
from prebook.lab.bench.ride_load import RideLoad
from prebook.lab.bench.subjects.ride_baseline import baseline_of
from prebook.lab.bench.subjects.ride_counts import count_per_ride
from prebook.lab.bench.subjects.ride_figures import (
    BUSY_PER_S,
    BUSY_RIDES,
    MIN_PER_S,
    RATE_FACTOR,
    START_PER_S,
    STEADY_PER_S,
    STEADY_RIDES,
    RideFigures,
    measure_cpu,
    overload_reason,
    run_step,
)
from prebook.lab.bench.suite import BenchSuite, start_suite
from prebook.lab.burst.backlog import read_backlog
from prebook.lab.capacity.recording import CapacityRecording, QueueSample, RecordedBurst, RecordedSecond
from prebook.lab.load.arrivals import ArrivalProcess, Arrivals, arrival_offsets
from prebook.lab.suite_client.broker_management import BrokerManagement, BrokerManagementError
from prebook.lab.suite_client.database import connect
from prebook.messaging.addresses import VHOST

WARMUP_PER_S = 10.0
WARMUP_RIDES = 30
ROUNDS = 3
BISECTIONS = 2
"""Steps between the last good rate and the first bad one: they narrow the knee from a quarter to a sixteenth."""
BURST_FACTOR = 5.0
BURST_S = 60
BURST_SEED = "capacity"
SAMPLE_INTERVAL_S = 1.0
READ_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, BrokerManagementError, OSError, TimeoutError)
Log = Callable[[str], None]


async def record_capacity(plan: str, log: Log) -> CapacityRecording:
    """Measure this machine under a plan.

    Raises:
        UserError: The suite did not start, did not settle its rides, or has no knee.
    """
    with tempfile.TemporaryDirectory(prefix="prebook-capacity-") as folder:
        async with start_suite(Path(folder)) as suite:
            load = RideLoad(suite, "capacity")
            await load.offer(plan, WARMUP_PER_S, WARMUP_RIDES)
            figures, generator_ms, generator_busy_ms = await _measure_costs(load, plan, log)
            figures.counts = await count_per_ride(load, plan, STEADY_PER_S, STEADY_RIDES)
            await _find_knee(load, plan, figures, log)
            burst = await _record_burst(load, plan, round(BURST_FACTOR * figures.knee_per_s), log)
            versions = f"{suite.state.broker}, {suite.state.database}"
    return CapacityRecording(
        commit=_read_commit(),
        plan=plan,
        cores=os.cpu_count() or 1,
        costs=baseline_of({plan: figures}, versions),
        generator_ms=round(generator_ms, 3),
        generator_busy_ms=round(generator_busy_ms, 3),
        knee_limit=figures.knee_limit,
        burst=burst,
    )


async def _measure_costs(load: RideLoad, plan: str, log: Log) -> tuple[RideFigures, float, float]:
    """Return the costs of all rounds, and the CPU time per ride of this load generator at each rate."""
    figures = RideFigures()
    generator_ms: dict[float, list[float]] = defaultdict(list)
    for number in range(ROUNDS):
        for values, rate_per_s, rides in (
            (figures.cpu_ms, STEADY_PER_S, STEADY_RIDES),
            (figures.busy_cpu_ms, BUSY_PER_S, BUSY_RIDES),
        ):
            before = time.process_time()
            for name, cost_ms in (await measure_cpu(load, plan, rate_per_s, rides)).items():
                values[name].append(cost_ms)
            generator_ms[rate_per_s].append((time.process_time() - before) * 1e3 / rides)
        log(f"cost of a ride, round {number + 1} of {ROUNDS}: {figures.cost_ms[-1]:.1f} ms at {STEADY_PER_S:g} rides/s")
    return figures, median(generator_ms[STEADY_PER_S]), median(generator_ms[BUSY_PER_S])


async def _find_knee(load: RideLoad, plan: str, figures: RideFigures, log: Log) -> None:
    """Bracket the knee between a good and a bad rate, then bisect; store the best settled rate in ``figures``.

    Raises:
        UserError: Every rate down to MIN_PER_S exceeds the knee.
    """
    good = bad = 0.0
    bisections = 0
    rate = START_PER_S
    while bisections <= BISECTIONS:
        result = await run_step(load, plan, rate)
        reason = overload_reason(result)
        log(f"knee: offered {rate:.1f}, settled {result.settled_per_s:.1f} rides/s; {reason or 'sustained'}")
        if reason:
            bad = rate
            figures.knee_limit = f"at {rate:.0f}/s {reason}"
        else:
            good = rate
            figures.knee_per_s = max(figures.knee_per_s, result.settled_per_s)
        if good and bad:
            bisections += 1
            rate = (good + bad) / 2
        else:
            rate = rate * RATE_FACTOR if good else rate / RATE_FACTOR
        if rate < MIN_PER_S:
            raise UserError(f"no knee: {figures.knee_limit}", "stop other programs of this machine, and run it again")


async def _record_burst(load: RideLoad, plan: str, rate_per_s: int, log: Log) -> RecordedBurst:
    log(f"burst: {rate_per_s} rides/s for {BURST_S} s")
    offsets_s = arrival_offsets(Arrivals(ArrivalProcess.POISSON, rate_per_s, BURST_S), BURST_SEED)
    offered = Counter(map(int, offsets_s))
    run = load.next_run()
    recorder = _BurstRecorder(load.suite)
    started_at = datetime.now(UTC)
    recording = asyncio.create_task(recorder.run())
    try:
        await load.offer_at(offsets_s, (plan,), run)
    finally:
        recorder.stopped.set()
        await recording
    times = await load.read_times(run)
    accepted = Counter(_second(ride.accepted_at, started_at) for ride in times)
    settled = Counter(_second(ride.settled_at, started_at) for ride in times if ride.settled_at)
    seconds = tuple(
        RecordedSecond(
            offered=offered[second],
            accepted=accepted[second],
            settled=settled[second],
            oldest_s=recorder.ages_s.get(second),
            queues=recorder.queues.get(second, {}),
        )
        for second in range(max(BURST_S, *(second + 1 for second in settled)))
    )
    return RecordedBurst(rides_per_s=rate_per_s, duration_s=BURST_S, seconds=seconds)


class _BurstRecorder:
    """Reads backlog and queues once a second. A second in which one of them does not answer lacks its figures."""

    def __init__(self, suite: BenchSuite) -> None:
        self.ages_s: dict[int, float] = {}
        self.queues: dict[int, Mapping[str, QueueSample]] = {}
        self.stopped = asyncio.Event()
        state = suite.state
        self._database_url = state.database_url
        self._broker = BrokerManagement(
            suite.session, state.management_url, state.management_user, state.management_password
        )

    async def run(self) -> None:
        """Take samples until ``stopped`` is set."""
        started = time.monotonic()
        async with connect(self._database_url) as database:
            while not self.stopped.is_set():
                second = int(time.monotonic() - started)
                with suppress(*READ_ERRORS):
                    self.ages_s[second] = round((await read_backlog(database)).pending_oldest_s, 2)
                with suppress(*READ_ERRORS):
                    self.queues[second] = queue_samples(await self._broker.get("queues", VHOST))
                with suppress(TimeoutError):
                    next_s = started + second + SAMPLE_INTERVAL_S - time.monotonic()
                    await asyncio.wait_for(self.stopped.wait(), next_s)


def queue_samples(queues: list[dict[str, Any]]) -> dict[str, QueueSample]:
    """Return the samples of queues that services consume, from the management API's list.

    Partitions are summed, as the scaler does it; queues without messages and traffic are left out.
    """
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * 4)
    for queue in queues:
        name: str = queue["name"]
        stats = queue.get("message_stats", {})
        rates = (stats.get(f"{kind}_details", {}).get("rate", 0.0) for kind in ("publish", "deliver_get"))
        values = (queue.get("messages_ready", 0), queue.get("messages_unacknowledged", 0), *rates)
        stem, _, last = name.rpartition(".")
        address = stem if last.isdecimal() else name
        if not name.startswith("prebook."):
            sums[address] = [total + value for total, value in zip(sums[address], values, strict=True)]
    return {
        address: QueueSample(round(ready), round(unacknowledged), round(published, 1), round(delivered, 1))
        for address, (ready, unacknowledged, published, delivered) in sorted(sums.items())
        if any((ready, unacknowledged, published, delivered))
    }


def _second(moment: datetime, started_at: datetime) -> int:
    return int((moment - started_at).total_seconds())


def _read_commit() -> str:
    """Return the abbreviated commit of this checkout, or an empty text."""
    command = ("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
