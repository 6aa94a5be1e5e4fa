"""Registration of the experiment: crash every service at every crash point of the code, alone and in pairs."""

import secrets
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import rich_click as click

from prebook.devstack.service_environment import lab_environment
from prebook.lab.bench.suite import start_suite
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.experiments.crash_points.cases import Case, list_sites, pair_cases, single_cases
from prebook.lab.experiments.crash_points.experiment import CaseResult, CrashRun
from prebook.lab.experiments.crash_points.riders import MAX_WAIT_S
from prebook.lab.experiments.crash_points.verdict import (
    CrashReport,
    coverage_problems,
    report,
    unanswered_rides,
    violation_problems,
)
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import open_session
from prebook.lab.suite_client.flow_limits import read_flow_limits

INTACT = "rides lost, stuck, duplicated or misordered = 0"
ANSWERED = "rides without an answer, under plans without synchronous calls = 0"
COVERED = "crash points at which no service crashed = 0"
ENTRY_SERVICE = "booking"
"""Service that answers riders."""
PERSISTENT = "riders repeat their requests"
ONE_SHOT = "riders send each request once"


class CrashPointsSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: maximum numbers of single crashes and of pairs, and pairs that an earlier run had."""

    sites: int = len(list_sites())
    pairs: int = 0
    skip_pairs: int = 0


async def measure(run: ExperimentRun, size: CrashPointsSize) -> Measurement:
    """Run all cases on a suite of their own; then some of them with riders who do not repeat their requests."""
    with tempfile.TemporaryDirectory(prefix="prebook-crashes-") as folder:
        home = Path(folder)
        crash_dir = home / "crashes"
        crash_dir.mkdir()
        env = {"PREBOOK_CRASH_DIR": str(crash_dir)}
        async with start_suite(home / "suite", env=env) as suite, open_session() as session:
            environment = lab_environment(suite.state, with_database=True)
            access = fault_access.read_fault_access(session, environment)

            def new_run(max_wait_s: float) -> CrashRun:
                name = f"k{secrets.token_hex(4)}"
                limits = read_flow_limits(environment)
                return CrashRun(access, suite.state.database_url, crash_dir, run.seed, name, limits, max_wait_s)

            persistent = new_run(MAX_WAIT_S)
            await persistent.run_cases(single_cases(list_sites()[: size.sites]), lambda each: run.log(_line(each)))
            reached = sorted(site for result in persistent.results for site in result.crashed)
            pairs = pair_cases(reached, run.seed)
            await persistent.run_cases(pairs[size.skip_pairs :][: size.pairs], lambda each: run.log(_line(each)))
            evidence = await persistent.gather_evidence()
            run.log(ONE_SHOT)
            one_shot = new_run(0.0)
            await one_shot.run_cases(booking_cases(size.sites), lambda each: run.log(_line(each)))
            one_shot_evidence = await one_shot.gather_evidence()
    found = report(persistent.results, evidence, run.seed, len(pairs))
    for problem in found.problems:
        run.log(problem)
    return Measurement(
        checks=[*crash_checks(persistent.results, evidence), one_shot_check(one_shot_evidence)],
        tables=[_table(found)],
        details=found,
    )


def booking_cases(sites: int) -> tuple[Case, ...]:
    """Return the cases among the first ``sites`` in which ENTRY_SERVICE crashes."""
    return single_cases(site for site in list_sites()[:sites] if site.service == ENTRY_SERVICE)


def crash_checks(results: Sequence[CaseResult], evidence: Evidence) -> Iterable[LawCheck]:
    """Yield the checks of the rides whose riders repeat their requests."""
    accounts = evidence.reconciliation.accounts
    crashed = {site for result in results for site in result.crashed}
    violations = ("violations", sum(1 for _ in violation_problems(evidence)))
    unanswered = ("unanswered", len(unanswered_rides(accounts)))
    uncovered = ("crash points", sum(1 for _ in coverage_problems(results, crashed)))
    yield check_law(INTACT, PERSISTENT, violations, Relation.EQUAL, ("", 0))
    yield check_law(ANSWERED, PERSISTENT, unanswered, Relation.EQUAL, ("", 0))
    yield check_law(COVERED, PERSISTENT, uncovered, Relation.EQUAL, ("", 0))


def one_shot_check(evidence: Evidence) -> LawCheck:
    """Return the check of the wrong way: a crash leaves riders without an answer who do not ask again."""
    unanswered = ("unanswered", len(unanswered_rides(evidence.reconciliation.accounts)))
    return check_law(ANSWERED, ONE_SHOT, unanswered, Relation.EQUAL, ("", 0), expected=LawVerdict.VIOLATED)


def _line(result: CaseResult) -> str:
    parts = (f"{site}{'' if site in result.crashed else ' (not reached)'}" for site in result.case)
    return f"crashed at {', '.join(parts)}"


def _table(found: CrashReport) -> ResultTable:
    cells = (found.cases, found.crashes, found.pairs, found.possible_pairs, found.rides, found.confirmed)
    return ResultTable(
        title="Crashes of services while rides are booked",
        columns=("cases", "crashes", "both of a pair", "pairs in all", "rides", "confirmed"),
        rows=(tuple(str(cell) for cell in cells),),
        caption=f"not reached by these rides: {', '.join(found.unreached) or 'none'}",
    )


CRASH_POINTS = Experiment(
    name="crash-points",
    section=Section.DELIVERY,
    claims=("F11", "G1"),
    pattern="Guaranteed Delivery; Idempotent Receiver (EIP)",
    claim="Wherever a service crashes in the code, no ride is lost, stuck, duplicated or misordered.",
    varies="the service and the crash point, alone and in pairs; whether riders repeat their requests",
    law=f"{INTACT}; {ANSWERED}; {COVERED}",
    wrong_way="riders do not repeat a request that a crash has interrupted",
    expected="Every ride under a plan without synchronous calls is answered, if its rider asks again.",
    full=CrashPointsSize(),
    quick=CrashPointsSize(sites=2),
    options=(
        SizeOption("sites", click.IntRange(2), "Maximum number of single crashes."),
        SizeOption("pairs", click.IntRange(0), "Maximum number of pairs of crashes after the single ones."),
        SizeOption("skip_pairs", click.IntRange(0), "Number of pairs to leave out, because an earlier run had them."),
    ),
    measure=measure,
    time_limit_s=1_200.0,
    quick_time_limit_s=400.0,
)
