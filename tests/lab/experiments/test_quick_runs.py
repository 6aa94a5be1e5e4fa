"""Every experiment in its quick size, by one `prebook lab all --quick`: laws, their violations, and some details."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from prebook.lab.experiments.exactly_once.crash_matrix import CELLS, EXPECTED_VERDICTS, CrashCell, CrashPoint
from prebook.lab.experiments.exactly_once.crash_plan import CRASH_EXIT_STATUS
from prebook.lab.experiments.exactly_once.experiment import CrashCellResult
from prebook.lab.experiments.exactly_once.registration import EXACTLY_ONCE
from prebook.lab.experiments.experiment import Experiment
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.ordering.registration import ORDER
from prebook.lab.experiments.outbox_retention.experiment import SAMPLE_COUNT, RetentionResult
from prebook.lab.experiments.outbox_retention.registration import OUTBOX_RETENTION
from prebook.lab.experiments.poison.model import EXPECTED_PARKED, SIDES, PoisonKind, PoisonRun
from prebook.lab.experiments.poison.registration import POISON
from prebook.lab.experiments.registry import EXPERIMENTS
from prebook.lab.experiments.result import ExperimentResult, ExperimentStatus
from tests.conftest import Figure

TIMEOUT_S = 1_500.0
"""The runs take a few minutes on a quiet machine with two cores."""
REPEATED = {CrashPoint.BEFORE_PUBLISH, CrashPoint.BEFORE_MARK}
"""Crash points after which the caller repeats an operation whose message is in the outbox already."""
SENT_AGAIN = {CrashPoint.BEFORE_MARK, CrashPoint.BEFORE_ACK}
"""Crash points after which one message is delivered twice."""
pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(TIMEOUT_S + 60)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, ExperimentResult]:
    folder = tmp_path_factory.mktemp("lab")
    completed = subprocess.run(
        (sys.executable, "-m", "prebook.cli", "lab", "all", "--quick", "--json", "--report", str(folder / "results")),
        env={name: value for name, value in os.environ.items() if name != "PREBOOK_STACK"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    found = [msgspec.json.decode(line, type=ExperimentResult) for line in completed.stdout.splitlines()]
    assert completed.returncode == 0, "\n".join(
        [*(f"{result.name}: {result.status}: {result.problems}" for result in found), completed.stderr[-4000:]]
    )
    return {result.name: result for result in found}


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_the_right_way_keeps_each_law_and_the_wrong_way_violates_one(
    experiment: Experiment[Any], results: Mapping[str, ExperimentResult], figure: Figure
) -> None:
    result = results[experiment.name]
    figure(f"lab run {experiment.name} --quick: {result.seconds:g} s")
    assert (result.status, result.problems) == (ExperimentStatus.PASSED, ())
    verdicts = {verdict: [check for check in result.checks if check.expected is verdict] for verdict in LawVerdict}
    assert verdicts[LawVerdict.HELD]
    assert {check.verdict for check in verdicts[LawVerdict.HELD]} <= {LawVerdict.HELD, LawVerdict.INCONCLUSIVE}
    assert [check.verdict for check in verdicts[LawVerdict.VIOLATED]] == [LawVerdict.VIOLATED] * len(
        verdicts[LawVerdict.VIOLATED]
    )
    assert bool(verdicts[LawVerdict.VIOLATED]) is bool(experiment.wrong_way)


@pytest.fixture
def order(results: Mapping[str, ExperimentResult]) -> dict[str, Any]:
    details: dict[str, Any] = results[ORDER.name].details
    return details


def test_failures_and_a_killed_consumer_lose_and_double_nothing(order: dict[str, Any]) -> None:
    messages = ORDER.quick.keys * ORDER.quick.per_key
    for result in order["rounds"]:
        assert result["failed"] == ORDER.quick.failing
        assert result["deliveries"] >= messages + ORDER.quick.failing, "each failed message is delivered once more"
        assert result["killed_after"] < messages, "the consumer is killed during the run"
        assert (result["lost"], result["duplicated"]) == (0, 0)


def test_a_failure_stalls_more_keys_in_one_global_group(order: dict[str, Any]) -> None:
    stalled_keys = {each["name"]: each["stalled_keys"] for each in order["strategies"]}
    assert stalled_keys["message_groups"] < stalled_keys["one_global_group"]


@pytest.fixture(params=CELLS, ids=lambda cell: cell.name)
def cell(request: pytest.FixtureRequest, results: Mapping[str, ExperimentResult]) -> tuple[CrashCell, CrashCellResult]:
    cells = msgspec.convert(results[EXACTLY_ONCE.name].details, list[CrashCellResult])
    expected: CrashCell = request.param
    keys = (expected.crash_point, expected.dedup, expected.inbox)
    (found,) = (each for each in cells if (each.crash_point, each.producer_dedup, each.inbox) == keys)
    return expected, found


def test_each_cell_has_the_expected_verdict(cell: tuple[CrashCell, CrashCellResult]) -> None:
    expected, result = cell
    assert result.verdict == EXPECTED_VERDICTS[expected].verdict == result.expected
    assert result.lost == 0
    assert result.duplicated == (result.verdict == "duplicated")
    assert result.exit_status == CRASH_EXIT_STATUS


def test_each_cell_produces_its_duplicates(cell: tuple[CrashCell, CrashCellResult]) -> None:
    expected, result = cell
    enqueued = EXACTLY_ONCE.quick.operations + (expected.crash_point in REPEATED and not expected.dedup)
    assert result.enqueued == result.performed == enqueued, "state and message commit together"
    assert result.delivered == enqueued + (expected.crash_point in SENT_AGAIN)
    assert result.effects == (enqueued if expected.inbox else result.delivered)


def test_each_kind_of_poison_is_parked_as_expected(results: Mapping[str, ExperimentResult]) -> None:
    runs = msgspec.convert(results[POISON.name].details["runs"], list[PoisonRun])
    assert len(runs) == len(PoisonKind)
    assert {run.poison: run.parked for run in runs} == {
        **{kind: [parked] for kind, parked in EXPECTED_PARKED.items()},
        PoisonKind.NONE: [],
    }
    assert {(run.handled, run.duplicated) for run in runs} == {(len(SIDES) * POISON.quick.messages, 0)}


def test_every_sent_row_is_either_purged_or_kept(results: Mapping[str, ExperimentResult]) -> None:
    details = results[OUTBOX_RETENTION.name].details
    for way in ("purged", "kept"):
        result = msgspec.convert(details[way], RetentionResult)
        assert len(result.samples) == SAMPLE_COUNT
        assert result.samples[-1].rows >= OUTBOX_RETENTION.quick.rows
        assert [sample.rows for sample in result.samples] == sorted(sample.rows for sample in result.samples)
        assert bool(result.purged) is (way == "purged")


def test_every_result_names_the_command_that_repeats_it(results: Mapping[str, ExperimentResult]) -> None:
    for result in results.values():
        assert result.command.startswith(f"prebook lab run {result.name} --seed {result.seed}")
