"""Ride load at a constant rate (an open loop), measured from the tables of booking once all rides are settled."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple

from prebook.contracts.ride import SETTLED_STATES
from prebook.devstack.errors import UserError
from prebook.flows import SERVICES
from prebook.lab.bench.suite import BenchSuite
from prebook.lab.bench.testbed import wait_until
from prebook.lab.load.generator import ClockOrigin, Generator, PreparedRequest, open_session, prepare_requests
from prebook.lab.load.request_schedule import PlannedRequest
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import Sample
from prebook.lab.quantiles import nearest_rank
from prebook.messaging.outbox.store import OutboxState

SEED = 7
SCENARIO = "bench"
AT_REST_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.2
SETTLED = "(" + ", ".join(f"'{state}'" for state in sorted(SETTLED_STATES)) + ")"
PENDING_MESSAGES = " UNION ALL ".join(
    f"SELECT 1 FROM {service}.{rest}"  # noqa: S608 - interpolated names are constants
    for service in SERVICES
    for rest in (f"outbox WHERE state = '{OutboxState.WAITING}'", "pending_reply")
)
SELECT_BUSY = f"""
    SELECT EXISTS ({PENDING_MESSAGES})
        OR EXISTS (SELECT FROM booking.booking
            WHERE key >= $1 AND starts_with(key, $1) AND state NOT IN {SETTLED})"""  # noqa: S608 - interpolated names are constants
# Settled rides with outcome and time of settlement.
SELECT_OUTCOMES = f"""
    SELECT key, state, (history -> -1 ->> 'at')::timestamptz AS at FROM booking.booking
    WHERE key >= $1 AND starts_with(key, $1) AND state IN {SETTLED}"""  # noqa: S608 - interpolated names are constants
# Accepted rides of a run.
SELECT_TIMES = f"""
    SELECT (history -> 0 ->> 'at')::timestamptz AS accepted_at,
        CASE WHEN state IN {SETTLED} THEN (history -> -1 ->> 'at')::timestamptz END AS settled_at
    FROM booking.booking WHERE key >= $1 AND starts_with(key, $1)"""  # noqa: S608 - the interpolated name is a constant


class RideTimes(NamedTuple):
    """Times of one accepted ride. ``settled_at``: None while it is open."""

    accepted_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True)
class RideLoadResult:
    """Outcomes of the rides of one load."""

    rides: int
    """Rides offered."""
    refused: int
    """Rides refused by load shedding."""
    failed: int
    """Rides that were neither refused nor confirmed nor rejected."""
    outcome_ms: Sequence[float]
    """Time from the intended offer to the outcome of each confirmed or rejected ride, ascending."""
    duration_s: float
    """Seconds from the first intended offer to the last outcome."""
    at_rest_s: float
    """Seconds from the start until no message or reply was outstanding."""

    @property
    def settled(self) -> int:
        """Number of confirmed and rejected rides."""
        return len(self.outcome_ms)

    @property
    def settled_per_s(self) -> float:
        """Confirmed and rejected rides per second."""
        return self.settled / self.duration_s

    def percentile(self, percent: int) -> float:
        """Return a percentile of ``outcome_ms``; infinity if no ride was settled."""
        return nearest_rank(self.outcome_ms, percent) if self.outcome_ms else float("inf")


@dataclass
class RideLoad:
    """Offers rides to ``suite``. Rides of different runs differ: their drivers stay booked, and keys are remembered."""

    suite: BenchSuite
    name: str
    runs: "count[int]" = field(default_factory=count)
    rides: int = 0

    def next_run(self) -> str:
        """Return the name of a new run, the prefix of its idempotency keys before a hyphen."""
        return f"{self.name}{next(self.runs)}"

    async def offer(self, plan: str | Sequence[str], rate_per_s: float, rides: int, run: str = "") -> RideLoadResult:
        """Offer ``rides`` at ``rate_per_s``, alternating between several plans, and return their outcomes.

        ``run``: name of the run; a new one if empty.

        Raises:
            UserError: A message or reply was still outstanding after AT_REST_TIMEOUT_S seconds.
        """
        offsets_s = [number / rate_per_s for number in range(rides)]
        return await self.offer_at(offsets_s, (plan,) if isinstance(plan, str) else plan, run or self.next_run())

    async def offer_at(self, offsets_s: Sequence[float], plans: Sequence[str], run: str) -> RideLoadResult:
        """Offer a ride at each of ``offsets_s``, ascending seconds from now, and return their outcomes.

        Raises:
            UserError: A message or reply was still outstanding after AT_REST_TIMEOUT_S seconds.
        """
        requests = self._prepare_requests(run, plans, offsets_s)
        started = time.perf_counter()
        samples = await self._send(requests)
        await self.wait_until_at_rest(run)
        return await self._read_result(run, samples, time.perf_counter() - started)

    def _prepare_requests(
        self, run: str, plans: Sequence[str], offsets_s: Sequence[float]
    ) -> Sequence[PreparedRequest]:
        planned = [
            PlannedRequest(offset_s, self.rides + number, plans[number % len(plans)])
            for number, offset_s in enumerate(offsets_s)
        ]
        self.rides += len(offsets_s)
        return prepare_requests(
            planned, run_id=run, scenario=SCENARIO, seed=SEED, week=campaign_week(datetime.now(UTC))
        )

    async def _send(self, requests: Sequence[PreparedRequest]) -> Sequence[Sample]:
        async with open_session() as session:
            generator = Generator(session, self.suite.state.urls["booking"], SCENARIO)
            return await generator.offer(requests, ClockOrigin.now())

    async def wait_until_at_rest(self, run: str) -> None:
        """Wait until all rides of ``run`` are settled and no message or reply of any ride is outstanding.

        Raises:
            UserError: It takes longer than AT_REST_TIMEOUT_S seconds.
        """

        async def is_at_rest() -> bool:
            return not await self.suite.database.fetchval(SELECT_BUSY, f"{run}-")

        try:
            await wait_until(is_at_rest, AT_REST_TIMEOUT_S, POLL_INTERVAL_S)
        except TimeoutError:
            raise UserError(
                f"{run} has open rides or messages {AT_REST_TIMEOUT_S:g} s after its last ride",
                f"read {self.suite.state.logs}",
            ) from None

    async def read_times(self, run: str) -> Sequence[RideTimes]:
        """Return the times of all accepted rides of ``run``."""
        return [RideTimes(*row) for row in await self.suite.database.fetch(SELECT_TIMES, f"{run}-")]

    async def _read_result(self, run: str, samples: Sequence[Sample], at_rest_s: float) -> RideLoadResult:
        intended_at = {sample.key: sample.intended_at for sample in samples}
        rows = await self.suite.database.fetch(SELECT_OUTCOMES, f"{run}-")
        settled = [row for row in rows if row["state"] in {"confirmed", "rejected"}]
        first = min(intended_at.values())
        last = max((row["at"] for row in settled), default=max(intended_at.values()))
        return RideLoadResult(
            rides=len(samples),
            refused=sum(sample.refused for sample in samples),
            failed=len(samples) - sum(sample.refused for sample in samples) - len(settled),
            outcome_ms=sorted((row["at"] - intended_at[row["key"]]).total_seconds() * 1e3 for row in settled),
            duration_s=(last - first).total_seconds(),
            at_rest_s=at_rest_s,
        )
