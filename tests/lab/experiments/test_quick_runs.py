"""Every experiment in its quick size, by one `prebook lab all --quick`: laws, their violations, and some details."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from prebook.lab.experiments.experiment import Experiment
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.ordering.registration import ORDER
from prebook.lab.experiments.registry import EXPERIMENTS
from prebook.lab.experiments.result import ExperimentResult, ExperimentStatus
from tests.conftest import Figure

TIMEOUT_S = 1_500.0
"""The runs take a few minutes on a quiet machine with two cores."""
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


def test_every_result_names_the_command_that_repeats_it(results: Mapping[str, ExperimentResult]) -> None:
    for result in results.values():
        assert result.command.startswith(f"prebook lab run {result.name} --seed {result.seed}")
