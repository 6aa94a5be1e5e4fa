"""`prebook lab crash-points`: crash every service at every crash point of the code, alone and in pairs."""

import secrets
import sys
import tempfile
from pathlib import Path

import msgspec
import rich_click as click

from prebook.devstack.command_line import examples, log_to_stderr, run_interruptible
from prebook.devstack.parameters import POSITIVE_COUNT, json_option, seed_option
from prebook.devstack.service_environment import lab_environment
from prebook.devstack.terminal import echo
from prebook.lab.bench.suite import start_suite
from prebook.lab.exit_status import exit_status_of
from prebook.lab.experiments.crash_points.cases import list_sites, pair_cases, single_cases
from prebook.lab.experiments.crash_points.experiment import CaseResult, CrashRun
from prebook.lab.experiments.crash_points.verdict import CrashReport, report
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import open_session
from prebook.lab.suite_client.flow_limits import read_flow_limits

EXAMPLES = examples(
    "prebook lab crash-points",
    "prebook lab crash-points --pairs 100",
    "prebook lab crash-points --pairs 5000            # all pairs; takes hours",
    "prebook lab crash-points --skip-pairs 500 --pairs 500   # all pairs in parts: the second part",
    "prebook lab crash-points --json | jq .problems",
)


@click.command("crash-points", epilog=EXAMPLES)
@click.option(
    "--pairs",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Maximum number of pairs of crashes to run after the single ones; all pairs if there are fewer.",
)
@click.option(
    "--skip-pairs",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of pairs to leave out before the first one that is run, because an earlier run had them.",
)
@click.option("--sites", type=POSITIVE_COUNT, help="Maximum number of single crashes. [default: all]")
@seed_option("Seed of the rides and of the order of the pairs.")
@json_option("Print the result to stdout, progress to stderr.")
def crash_points(*, pairs: int, skip_pairs: int, sites: int | None, seed: int, as_json: bool) -> None:
    """Crash each service at each crash point of the code while rides are booked, and judge every ride.

    Riders repeat their requests until they are answered. Exit status 1 if a ride was lost, stuck, duplicated or
    misordered, if a ride under a plan without synchronous calls got no answer, or if a crash point was never reached.
    """

    def run() -> int:
        with tempfile.TemporaryDirectory(prefix="prebook-crashes-") as home:
            found = run_interruptible(run_and_judge(Path(home), slice(skip_pairs, skip_pairs + pairs), sites, seed))
        echo(msgspec.json.encode(found) if as_json else "\n".join(report_lines(found)))
        return 0 if found.ok else 1

    sys.exit(exit_status_of(run, "the run has no verdict"))


async def run_and_judge(home: Path, part: slice, sites: int | None, seed: int) -> CrashReport:
    """Run all single cases and a part of the pairs on a suite in ``home``, with progress on stderr.

    Raises:
        UserError: The suite does not start, or a service does not come back.
    """
    crash_dir = home / "crashes"
    crash_dir.mkdir()
    env = {"PREBOOK_CRASH_DIR": str(crash_dir)}
    async with start_suite(home / "suite", env=env) as suite, open_session() as session:
        environment = lab_environment(suite.state, with_database=True)
        access = fault_access.read_fault_access(session, environment)
        name = f"k{secrets.token_hex(4)}"
        run = CrashRun(access, suite.state.database_url, crash_dir, seed, name, read_flow_limits(environment))
        await run.run_cases(single_cases(list_sites()[:sites]), print_result)
        reached = sorted(site for result in run.results for site in result.crashed)
        pairs = pair_cases(reached, seed)
        await run.run_cases(pairs[part], print_result)
        return report(run.results, await run.gather_evidence(), seed, len(pairs))


def print_result(result: CaseResult) -> None:
    """Print one line about a case to stderr."""
    parts = (f"{site}{'' if site in result.crashed else ' (not reached)'}" for site in result.case)
    log_to_stderr(f"crashed at {', '.join(parts)}")


def report_lines(found: CrashReport) -> list[str]:
    """Return the report as lines of text."""
    return [
        f"{found.crashes} crashes in {found.cases} cases",
        f"both of a pair in {found.pairs}; {found.possible_pairs} pairs in all",
        f"{found.rides} rides, {found.confirmed} confirmed",
        f"not reached by these rides: {', '.join(found.unreached) or 'none'}",
        *(f"problem: {problem}" for problem in found.problems),
        "failed" if found.problems else "passed: no ride lost, stuck, duplicated or misordered",
    ]
