"""Rides offered to a suite at an even rate, whatever becomes of those before, until nothing of them is left to do."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

from prebook.devstack.errors import Trouble
from prebook.flows import SERVICES
from prebook.lab.bench.suite import Standing
from prebook.lab.bench.testbed import until
from prebook.lab.load.generator import Generator, Order, Origin, open_session, prepare
from prebook.lab.load.request_schedule import Offer
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import Sample
from prebook.lab.quantiles import nearest_rank

SEED, SCENARIO = 7, "bench"
AT_REST_WITHIN_S, LOOK_EVERY_S = 60.0, 0.2
DONE = "('confirmed', 'rejected', 'expired', 'cancelled', 'failed')"
OUTBOXES = " UNION ALL ".join(
    f"SELECT 1 FROM {service}.{rest}"  # noqa: S608 - names that stand in our code
    for service in SERVICES
    for rest in ("outbox WHERE state = 'waiting'", "awaited")
)
BUSY = f"""
    SELECT EXISTS ({OUTBOXES})
        OR EXISTS (SELECT FROM booking.booking WHERE key >= $1 AND starts_with(key, $1) AND state NOT IN {DONE})"""  # noqa: S608 - the same
# What has an outcome: when it was known, and whether it is one that a rider wanted an answer to.
OUTCOMES = f"""
    SELECT key, state, (history -> -1 ->> 'at')::timestamptz AS at FROM booking.booking
    WHERE key >= $1 AND starts_with(key, $1) AND state IN {DONE}"""  # noqa: S608 - the same


@dataclass(frozen=True)
class Offered:
    """``outcome_ms`` from the moment a ride was meant to be offered, rising; of rides that were answered."""

    rides: int
    refused: int
    failed: int
    outcome_ms: Sequence[float]
    took_s: float
    """From the first ride's moment to the last one's outcome."""
    at_rest_s: float
    """Until nothing was left to do."""

    @property
    def settled(self) -> int:
        return len(self.outcome_ms)

    @property
    def settled_per_s(self) -> float:
        return self.settled / self.took_s

    def percentile(self, percent: int) -> float:
        return nearest_rank(self.outcome_ms, percent) if self.outcome_ms else float("inf")


@dataclass
class Riders:
    """Every run has rides of its own, none twice: drivers are booked, and keys remembered."""

    suite: Standing
    name: str
    runs: "count[int]" = field(default_factory=count)
    rides: int = 0

    def next_run(self) -> str:
        """What the keys of its rides begin with, before a hyphen."""
        return f"{self.name}{next(self.runs)}"

    async def offer(self, plan: str | Sequence[str], rate_per_s: float, rides: int, run: str = "") -> Offered:
        """Of several plans each in turn. Raises Trouble where it does not come to rest."""
        run = run or self.next_run()
        orders = self._orders(run, (plan,) if isinstance(plan, str) else plan, rate_per_s, rides)
        began = time.perf_counter()
        samples = await self._sent(orders)
        await self.at_rest(run)
        return await self._seen(run, samples, time.perf_counter() - began)

    def _orders(self, run: str, plans: Sequence[str], rate_per_s: float, rides: int) -> Sequence[Order]:
        offers = [
            Offer(number / rate_per_s, self.rides + number, plans[number % len(plans)]) for number in range(rides)
        ]
        self.rides += rides
        return prepare(offers, run=run, scenario=SCENARIO, seed=SEED, week=campaign_week(datetime.now(UTC)))

    async def _sent(self, orders: Sequence[Order]) -> Sequence[Sample]:
        async with open_session() as session:
            generator = Generator(session, self.suite.where.urls["booking"], SCENARIO)
            return await generator.offer(orders, Origin.now())

    async def at_rest(self, run: str) -> None:
        async def quiet() -> bool:
            return not await self.suite.database.fetchval(BUSY, f"{run}-")

        try:
            await until(quiet, AT_REST_WITHIN_S, LOOK_EVERY_S)
        except TimeoutError:
            raise Trouble(
                f"{run} is not at rest {AT_REST_WITHIN_S:g} s after its last ride", f"read {self.suite.where.logs}"
            ) from None

    async def _seen(self, run: str, samples: Sequence[Sample], at_rest_s: float) -> Offered:
        meant = {sample.key: sample.intended_at for sample in samples}
        rows = await self.suite.database.fetch(OUTCOMES, f"{run}-")
        good = [row for row in rows if row["state"] in {"confirmed", "rejected"}]
        first, last = min(meant.values()), max((row["at"] for row in good), default=max(meant.values()))
        return Offered(
            rides=len(samples),
            refused=sum(sample.refused for sample in samples),
            failed=len(samples) - sum(sample.refused for sample in samples) - len(good),
            outcome_ms=sorted((row["at"] - meant[row["key"]]).total_seconds() * 1e3 for row in good),
            took_s=(last - first).total_seconds(),
            at_rest_s=at_rest_s,
        )
