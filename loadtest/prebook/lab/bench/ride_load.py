"""Rides offered to a suite at an even rate, whatever becomes of those before, until nothing of them is left to do."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

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
TERMINAL_STATES = "('confirmed', 'rejected', 'expired', 'cancelled', 'failed')"
PENDING_MESSAGES = " UNION ALL ".join(
    f"SELECT 1 FROM {service}.{rest}"  # noqa: S608 - names that stand in our code
    for service in SERVICES
    for rest in (f"outbox WHERE state = '{OutboxState.WAITING}'", "pending_reply")
)
SELECT_BUSY = f"""
    SELECT EXISTS ({PENDING_MESSAGES})
        OR EXISTS (SELECT FROM booking.booking
            WHERE key >= $1 AND starts_with(key, $1) AND state NOT IN {TERMINAL_STATES})"""  # noqa: S608 - the same
# What has an outcome: when it was known, and whether it is one that a rider wanted an answer to.
SELECT_OUTCOMES = f"""
    SELECT key, state, (history -> -1 ->> 'at')::timestamptz AS at FROM booking.booking
    WHERE key >= $1 AND starts_with(key, $1) AND state IN {TERMINAL_STATES}"""  # noqa: S608 - the same


@dataclass(frozen=True)
class RideLoadResult:
    """``outcome_ms`` from the moment a ride was meant to be offered, rising; of rides that were answered."""

    rides: int
    refused: int
    failed: int
    outcome_ms: Sequence[float]
    duration_s: float
    """From the first ride's moment to the last one's outcome."""
    at_rest_s: float
    """Until nothing was left to do."""

    @property
    def settled(self) -> int:
        return len(self.outcome_ms)

    @property
    def settled_per_s(self) -> float:
        return self.settled / self.duration_s

    def percentile(self, percent: int) -> float:
        return nearest_rank(self.outcome_ms, percent) if self.outcome_ms else float("inf")


@dataclass
class RideLoad:
    """Every run has rides of its own, none twice: drivers are booked, and keys remembered."""

    suite: BenchSuite
    name: str
    runs: "count[int]" = field(default_factory=count)
    rides: int = 0

    def next_run(self) -> str:
        """What the keys of its rides begin with, before a hyphen."""
        return f"{self.name}{next(self.runs)}"

    async def offer(self, plan: str | Sequence[str], rate_per_s: float, rides: int, run: str = "") -> RideLoadResult:
        """Of several plans each in turn. Raises UserError where it does not come to rest."""
        run = run or self.next_run()
        orders = self._prepare_requests(run, (plan,) if isinstance(plan, str) else plan, rate_per_s, rides)
        began = time.perf_counter()
        samples = await self._send(orders)
        await self.wait_until_at_rest(run)
        return await self._read_result(run, samples, time.perf_counter() - began)

    def _prepare_requests(
        self, run: str, plans: Sequence[str], rate_per_s: float, rides: int
    ) -> Sequence[PreparedRequest]:
        offers = [
            PlannedRequest(number / rate_per_s, self.rides + number, plans[number % len(plans)])
            for number in range(rides)
        ]
        self.rides += rides
        return prepare_requests(offers, run_id=run, scenario=SCENARIO, seed=SEED, week=campaign_week(datetime.now(UTC)))

    async def _send(self, orders: Sequence[PreparedRequest]) -> Sequence[Sample]:
        async with open_session() as session:
            generator = Generator(session, self.suite.state.urls["booking"], SCENARIO)
            return await generator.offer(orders, ClockOrigin.now())

    async def wait_until_at_rest(self, run: str) -> None:
        async def quiet() -> bool:
            return not await self.suite.database.fetchval(SELECT_BUSY, f"{run}-")

        try:
            await wait_until(quiet, AT_REST_TIMEOUT_S, POLL_INTERVAL_S)
        except TimeoutError:
            raise UserError(
                f"{run} is not at rest {AT_REST_TIMEOUT_S:g} s after its last ride", f"read {self.suite.state.logs}"
            ) from None

    async def _read_result(self, run: str, samples: Sequence[Sample], at_rest_s: float) -> RideLoadResult:
        meant = {sample.key: sample.intended_at for sample in samples}
        rows = await self.suite.database.fetch(SELECT_OUTCOMES, f"{run}-")
        good = [row for row in rows if row["state"] in {"confirmed", "rejected"}]
        first = min(meant.values())
        last = max((row["at"] for row in good), default=max(meant.values()))
        return RideLoadResult(
            rides=len(samples),
            refused=sum(sample.refused for sample in samples),
            failed=len(samples) - sum(sample.refused for sample in samples) - len(good),
            outcome_ms=sorted((row["at"] - meant[row["key"]]).total_seconds() * 1e3 for row in good),
            duration_s=(last - first).total_seconds(),
            at_rest_s=at_rest_s,
        )
