"""A run of the variability matrix: all trials one after the other, on one broker, one database and one suite."""

import asyncio
import secrets
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp

from prebook.devstack.errors import UserError
from prebook.devstack.servers import Log
from prebook.lab.commit import read_commit
from prebook.lab.experiments.host import read_host_info
from prebook.lab.experiments.service_processes import shorten_retries
from prebook.lab.experiments.testbed import RETRY_HINT, ExperimentTestbed, stack_versions, start_testbed
from prebook.lab.experiments.variability.catalogue import NOT_MEASURABLE
from prebook.lab.experiments.variability.deployments import Deployments
from prebook.lab.experiments.variability.matrix import MatrixRow, VariabilityMatrix, build_row, unmeasured_rows
from prebook.lab.experiments.variability.message_counter import MessageCounter
from prebook.lab.experiments.variability.site import TrialSite
from prebook.lab.experiments.variability.steady_load import Plans, SteadyLoad
from prebook.lab.experiments.variability.trial import TrialResult, TrialSize, run_trial, unmeasured
from prebook.lab.experiments.variability.variation import UNIFORM_PLANS, Variation

REQUEST_TIMEOUT_S = 10.0
WARM_UP_S = 6.0
TRIAL_TIMEOUT_S = 240.0
"""Several times as long as a trial takes on two idle cores: a busy machine must not end one that makes progress."""


@dataclass(frozen=True)
class MatrixPlan:
    """Variations, size and seed of a run. ``command`` repeats it."""

    variations: Sequence[Variation]
    size: TrialSize
    seed: int
    command: str


@dataclass(frozen=True)
class MatrixRun:
    """Trials on a running suite."""

    testbed: ExperimentTestbed
    deployments: Deployments
    session: aiohttp.ClientSession = field(repr=False)
    plan: MatrixPlan
    run_id: str = field(default_factory=lambda: f"m{secrets.token_hex(4)}")

    async def warm_up(self) -> None:
        """Offer rides for a while: the first ones of a suite take longer than all later ones."""
        async with self._load("warm-up", UNIFORM_PLANS).run():
            await asyncio.sleep(WARM_UP_S)

    async def measure(self, variation: Variation, log: Log) -> MatrixRow:
        """Return the row of a variation; an error makes it unmeasured, and does not end the other trials."""
        try:
            async with asyncio.timeout(TRIAL_TIMEOUT_S):
                return build_row(await self._run_trial(variation))
        except UserError as error:
            reason = f"{error.problem}; {error.remedy}"
        except TimeoutError:
            reason = f"a time limit was reached; {RETRY_HINT}"
        except Exception as error:  # noqa: BLE001 - the other trials are still to be run
            log(traceback.format_exc())
            reason = f"{type(error).__name__}: {error}"
        return build_row(unmeasured(variation, reason))

    async def _run_trial(self, variation: Variation) -> TrialResult:
        """Deploy the services as they are before a variation, and run its trial."""
        await self.deployments.restore(variation.before)
        async with AsyncExitStack() as cleanup:
            site = TrialSite(
                self.deployments,
                self._load(variation.name, variation.plans_before),
                self.session,
                database_url=self.testbed.context.database_url,
                away_s=self.plan.size.away_s,
                amqp_url=self.testbed.stack.broker.amqp_url,
                cleanup=cleanup,
            )
            counter = MessageCounter(self.session, self.deployments)
            return await run_trial(variation, site, self.plan.size, counter)

    def _load(self, scenario: str, plans: Plans) -> SteadyLoad:
        return SteadyLoad(
            self.session,
            self.deployments.riders_url,
            run_id=self.run_id,
            scenario=scenario,
            plans=plans,
            seed=self.plan.seed,
            rides_per_s=self.plan.size.rides_per_s,
        )


async def run_matrix(plan: MatrixPlan, log: Log, on_row: Callable[[MatrixRow], None]) -> VariabilityMatrix:
    """Run all trials; ``on_row`` is called after each. Raises UserError."""
    started_at = datetime.now(UTC)
    began_s = time.monotonic()
    machine = read_host_info()
    rows = []
    async with start_testbed() as testbed:
        log("services: starting")
        async with (
            Deployments.start(testbed, shorten_retries(testbed)) as deployments,
            open_session() as session,
        ):
            run = MatrixRun(testbed, deployments, session, plan)
            await run.warm_up()
            for number, variation in enumerate(plan.variations, 1):
                label = f"[{number}/{len(plan.variations)}] {variation.name}"
                log(f"{label}: {variation.changed_service} {variation.change}")
                row = await run.measure(variation, log)
                log(f"{label}: {summary(row)} in {row.seconds:g} s")
                rows.append(row)
                on_row(row)
        stack = stack_versions(testbed.stack)
    return VariabilityMatrix(
        command=plan.command,
        seed=plan.seed,
        commit=read_commit(),
        started_at=started_at,
        seconds=round(time.monotonic() - began_s, 1),
        machine=machine,
        stack=stack,
        rows=tuple(rows),
        not_measurable=unmeasured_rows(NOT_MEASURABLE, [variation.dimension for variation in plan.variations]),
    )


def open_session() -> aiohttp.ClientSession:
    """Open an HTTP session with a connection for each request: an instance that stops ends idle connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
    )


def summary(row: MatrixRow) -> str:
    """Return the verdicts of a row in one line."""
    return ", ".join(f"{cell.coupling} {cell.verdict or 'not measured'}" for cell in row.cells)
