"""Runner of experiments: one after the other on shared servers, each with its time limit."""

import asyncio
import shlex
import time
import traceback
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from prebook.devstack.errors import UserError
from prebook.devstack.servers import Log
from prebook.lab.commit import read_commit
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, Size
from prebook.lab.experiments.forked import preload
from prebook.lab.experiments.host import read_host_info
from prebook.lab.experiments.result import ExperimentResult, ExperimentStatus, find_problems
from prebook.lab.experiments.testbed import RETRY_HINT, ExperimentTestbed, stack_versions, start_testbed

NO_MEASUREMENT = Measurement(checks=(), tables=())


@dataclass(frozen=True)
class PlannedRun:
    """An experiment to run, with its size. ``time_limit_s`` is None for a size that the registry does not list."""

    experiment: Experiment[Any]
    size: Size
    seed: int
    time_limit_s: float | None

    @property
    def command(self) -> str:
        """Command that repeats the run."""
        given = msgspec.structs.asdict(self.size)
        defaults = msgspec.structs.asdict(self.experiment.full)
        words = ["prebook", "lab", "run", self.experiment.name, "--seed", str(self.seed)]
        for name, value in given.items():
            if value != defaults[name]:
                words += [f"--{name.replace('_', '-')}", str(value)]
        return shlex.join(words)


async def run_planned(runs: Sequence[PlannedRun], log: Log) -> AsyncGenerator[ExperimentResult, None]:
    """Yield the result of each run; all of them share a broker and a database.

    Raises:
        UserError: Broker or database did not start.
    """
    commit = read_commit()
    preload(sorted({module for run in runs for module in run.experiment.worker_modules}))
    async with start_testbed() as testbed:
        for number, run in enumerate(runs, 1):
            experiment = run.experiment
            log(f"[{number}/{len(runs)}] {experiment.name}: {experiment.claim} (seed {run.seed})")
            result = await _run_one(run, testbed, commit, log)
            log(f"[{number}/{len(runs)}] {experiment.name}: {result.status.replace('_', ' ')} in {result.seconds:g} s")
            yield result


async def _run_one(run: PlannedRun, testbed: ExperimentTestbed, commit: str, log: Log) -> ExperimentResult:
    experiment = run.experiment
    started_at = datetime.now(UTC)
    started_s = time.monotonic()
    machine = read_host_info()
    missing = [f"{each.name}: {reason}" for each in experiment.prerequisites if (reason := each.missing(testbed))]
    if missing:
        measurement, problems, status = NO_MEASUREMENT, missing, ExperimentStatus.PREREQUISITE_ABSENT
    else:
        measurement, problems, status = await _measure(run, testbed, log)
    return ExperimentResult(
        name=experiment.name,
        section=experiment.section,
        claims=experiment.claims,
        pattern=experiment.pattern,
        claim=experiment.claim,
        varies=experiment.varies,
        law=experiment.law,
        wrong_way=experiment.wrong_way,
        expected=experiment.expected,
        command=run.command,
        seed=run.seed,
        size=msgspec.structs.asdict(run.size),
        commit=commit,
        started_at=started_at,
        seconds=round(time.monotonic() - started_s, 1),
        machine=machine,
        stack=stack_versions(testbed.stack),
        status=status,
        problems=tuple(problems),
        checks=tuple(measurement.checks),
        tables=tuple(measurement.tables),
        pictures=tuple(measurement.pictures),
        details=measurement.details,
    )


async def _measure(
    run: PlannedRun, testbed: ExperimentTestbed, log: Log
) -> tuple[Measurement, list[str], ExperimentStatus]:
    """Run the experiment on clean servers; an error makes it unmeasured, and does not end the other experiments."""
    experiment = run.experiment
    try:
        async with asyncio.timeout(run.time_limit_s) as limit, testbed.isolate(experiment.topology):
            measurement = await experiment.measure(ExperimentRun(run.seed, log, testbed), run.size)
    except UserError as error:
        return NO_MEASUREMENT, [f"{error.problem}; {error.remedy}"], ExperimentStatus.NOT_MEASURED
    except TimeoutError:
        reason = "a time limit within the run was reached"
        if limit.expired():
            reason = f"the run took longer than its limit of {run.time_limit_s:g} s"
        return NO_MEASUREMENT, [f"{reason}; {RETRY_HINT}"], ExperimentStatus.NOT_MEASURED
    except Exception as error:  # noqa: BLE001 - the other experiments of a run are still to be measured
        log(traceback.format_exc())
        return NO_MEASUREMENT, [f"{type(error).__name__}: {error}"], ExperimentStatus.NOT_MEASURED
    problems = find_problems(experiment, measurement.checks)
    return measurement, problems, ExperimentStatus.FAILED if problems else ExperimentStatus.PASSED
