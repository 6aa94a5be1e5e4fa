"""The registry and the commands on it: descriptions, sizes, laws with both sides, and the exit status. No server."""

import asyncio
import json
import re
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import rich_click as click
from click.testing import CliRunner

from prebook.devstack.errors import UserError
from prebook.lab.experiments import runner
from prebook.lab.experiments.command import experiment_command, lab, registered_run
from prebook.lab.experiments.console import to_markdown
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    Prerequisite,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.ordering.registration import ORDER
from prebook.lab.experiments.ordering.strategies import OrderingStrategy
from prebook.lab.experiments.page import write_page
from prebook.lab.experiments.registry import EXPERIMENTS, find_experiments
from prebook.lab.experiments.result import ExperimentResult, ExperimentStatus
from prebook.lab.experiments.result_files import read_results

CLAIM_ID = re.compile(r"[A-H][1-9]\d?")
MAX_EXPECTED_LINE = 120


class ExampleSize(Size, frozen=True, kw_only=True):
    """Size of the example: how many effects are lost and doubled, and how it ends."""

    lost: int = 0
    doubled: int = 3


def example_checks(size: ExampleSize) -> list[LawCheck]:
    lost = ("lost", size.lost)
    doubled = ("doubled", size.doubled)
    return [
        check_law("lost = 0", "with an outbox", lost, Relation.EQUAL, ("", 0)),
        check_law("doubled = 0", "without an inbox", doubled, Relation.EQUAL, ("", 0), expected=LawVerdict.VIOLATED),
    ]


async def measure_example(_: ExperimentRun, size: ExampleSize) -> Measurement:
    return Measurement(checks=example_checks(size), tables=[])


EXAMPLE = Experiment(
    name="example",
    section=Section.DELIVERY,
    claims=("F7",),
    claim="An inbox drops duplicates.",
    varies="the inbox",
    law="doubled = 0",
    wrong_way="no inbox",
    expected="Nothing is doubled.",
    full=ExampleSize(),
    quick=ExampleSize(doubled=1),
    options=(
        SizeOption("lost", click.IntRange(0), "Lost effects."),
        SizeOption("doubled", click.IntRange(0), "Doubled effects."),
    ),
    measure=measure_example,
)


@pytest.fixture(autouse=True)
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace broker and database by a stand-in; examples use neither."""
    stack = SimpleNamespace(mode="none", broker_description="no broker", database_description="no database")

    @asynccontextmanager
    async def isolate(_: object) -> AsyncIterator[None]:
        yield

    @asynccontextmanager
    async def start() -> AsyncIterator[Any]:
        yield SimpleNamespace(stack=stack, isolate=isolate)

    monkeypatch.setattr(runner, "start_testbed", start)


def run_example(folder: Path, *arguments: str, **changes: Any) -> tuple[int, ExperimentResult]:
    command = experiment_command(replace(EXAMPLE, **changes))
    done = CliRunner().invoke(command, ["--json", "--report", str(folder), *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, msgspec.json.decode(done.stdout, type=ExperimentResult)


def test_a_run_whose_law_holds_and_whose_wrong_way_violates_it_passes(tmp_path: Path) -> None:
    status, result = run_example(tmp_path)
    assert (status, result.status, result.problems) == (0, ExperimentStatus.PASSED, ())
    assert [check.verdict for check in result.checks] == [LawVerdict.HELD, LawVerdict.VIOLATED]
    assert read_results(tmp_path) == [result]


def test_a_violated_law_fails_and_the_problem_has_both_sides(tmp_path: Path) -> None:
    status, result = run_example(tmp_path, "--lost", "2")
    assert (status, result.status) == (1, ExperimentStatus.FAILED)
    assert result.problems == ("with an outbox violated 'lost = 0': lost 2 = 0 does not hold",)


def test_a_wrong_way_that_violates_nothing_fails(tmp_path: Path) -> None:
    status, result = run_example(tmp_path, "--doubled", "0")
    assert (status, result.status) == (1, ExperimentStatus.FAILED)
    assert "nothing was shown: without an inbox was to violate 'doubled = 0'" in result.problems[0]


async def measure_nothing(_: ExperimentRun, __: ExampleSize) -> Measurement:
    return Measurement(checks=[], tables=[])


async def measure_right_way_only(_: ExperimentRun, size: ExampleSize) -> Measurement:
    return Measurement(checks=example_checks(size)[:1], tables=[])


async def raise_user_error(_: ExperimentRun, __: ExampleSize) -> Measurement:
    raise UserError("no consumer was ready", "try again")


async def raise_defect(_: ExperimentRun, __: ExampleSize) -> Measurement:
    raise KeyError("defect")


async def wait_for_ever(_: ExperimentRun, __: ExampleSize) -> Measurement:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(
    ("measure", "expected", "problem"),
    [
        (measure_nothing, ExperimentStatus.FAILED, "measured nothing"),
        (measure_right_way_only, ExperimentStatus.FAILED, "the wrong way was not run"),
        (raise_user_error, ExperimentStatus.NOT_MEASURED, "no consumer was ready; try again"),
        (raise_defect, ExperimentStatus.NOT_MEASURED, "KeyError"),
        (wait_for_ever, ExperimentStatus.NOT_MEASURED, "longer than its limit of 0.05 s"),
    ],
)
def test_a_run_that_measures_too_little_fails(
    measure: Any, expected: ExperimentStatus, problem: str, tmp_path: Path
) -> None:
    status, result = run_example(tmp_path, measure=measure, time_limit_s=0.05)
    assert (status, result.status) == (1, expected)
    assert problem in result.problems[0]


@pytest.mark.parametrize(("reason", "expected"), [("the broker runs elsewhere", 0), ("", 1)])
def test_only_an_absent_prerequisite_excuses_a_missing_measurement(reason: str, expected: int, tmp_path: Path) -> None:
    prerequisite = Prerequisite("a broker process", lambda _: reason)
    status, result = run_example(tmp_path, measure=raise_user_error, prerequisites=(prerequisite,))
    assert status == expected
    assert result.status == (ExperimentStatus.PREREQUISITE_ABSENT if reason else ExperimentStatus.NOT_MEASURED)


def test_the_quick_size_can_be_changed_and_the_command_repeats_the_run(tmp_path: Path) -> None:
    _, quick = run_example(tmp_path, "--quick", "--seed", "5")
    assert (quick.size, quick.seed) == ({"lost": 0, "doubled": 1}, 5)
    assert quick.command == "prebook lab run example --seed 5 --doubled 1"
    _, again = run_example(tmp_path, *quick.command.split()[4:])
    assert (again.size, again.seed) == (quick.size, quick.seed)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.name)
def test_every_option_of_an_experiment_accepts_its_full_size(experiment: Experiment[Any], tmp_path: Path) -> None:
    words = [f"--{name.replace('_', '-')}={getattr(experiment.full, name)}" for name in experiment.option_names]
    command = experiment_command(replace(experiment, measure=measure_nothing, prerequisites=()))
    for arguments in ([], ["--quick", *words]):
        done = CliRunner().invoke(command, ["--json", "--report", str(tmp_path), *arguments])
        result = msgspec.json.decode(done.stdout, type=ExperimentResult)
        assert msgspec.convert(result.size, type(experiment.full)) == experiment.full


def test_an_inconclusive_law_about_time_fails_no_run() -> None:
    doubtful = msgspec.structs.replace(example_checks(ExampleSize(lost=2))[0], verdict=LawVerdict.INCONCLUSIVE)
    assert doubtful.problem == ""


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.name)
def test_a_registered_experiment_is_described_and_its_quick_size_is_not_larger(experiment: Experiment[Any]) -> None:
    assert all(CLAIM_ID.fullmatch(claim) for claim in experiment.claims)
    assert len(experiment.claim) <= MAX_EXPECTED_LINE
    assert experiment.claim.endswith(".")
    assert experiment.expected.endswith(".")
    assert experiment.quick_time_limit_s <= experiment.time_limit_s
    assert set(experiment.option_names) == set(experiment.full.__struct_fields__)
    assert registered_run(experiment, quick=True, seed=1).size == experiment.quick
    assert experiment.size_problem(experiment.full) == experiment.size_problem(experiment.quick) == ""
    for option in experiment.options:
        assert getattr(experiment.quick, option.name) <= getattr(experiment.full, option.name)


def test_names_are_unique() -> None:
    names = [experiment.name for experiment in EXPERIMENTS]
    assert len(set(names)) == len(names)


def test_the_list_has_every_experiment_and_a_section_selects() -> None:
    done = CliRunner().invoke(lab, ["list", "--json"])
    assert [each["name"] for each in json.loads(done.stdout)] == [each.name for each in EXPERIMENTS]
    done = CliRunner().invoke(lab, ["list", "--json", "--section", "ordering"])
    assert [each["name"] for each in json.loads(done.stdout)] == [
        each.name for each in find_experiments(Section.ORDERING)
    ]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ((), "give --section"),
        (("--quick", "order"), "after the name: prebook lab run order"),
        (("unknown",), "No such"),
    ],
)
def test_a_run_without_an_experiment_is_a_usage_error(arguments: tuple[str, ...], hint: str) -> None:
    done = CliRunner().invoke(lab, ["run", *arguments])
    assert done.exit_code == 2
    assert hint in " ".join(done.output.replace("\u2502", " ").split())


def test_the_page_has_a_row_for_each_run_and_for_nothing_else(tmp_path: Path) -> None:
    run_example(tmp_path, "--seed", "5")
    run_example(tmp_path, "--lost", "2", name="failing", claim="<b>claim</b>.")
    registered: list[Experiment[Any]] = [
        EXAMPLE,
        replace(EXAMPLE, name="failing"),
        replace(EXAMPLE, name="unrun"),
        ORDER,
    ]
    html = write_page(tmp_path, registered).read_text()
    assert re.findall(r'<article id="([^"]*)">', html) == ["example", "failing"]
    assert "1 of 2 passed" in html
    assert "2 of 4 experiments have a run" in html
    assert "prebook lab run example --seed 5" in html
    assert "lost 2" in html
    assert "<b>claim" not in html
    assert not re.search(r'(?:src|href)="(?!data:)', html), "the page loads nothing"


def test_the_page_draws_the_topology_of_an_experiment(tmp_path: Path) -> None:
    run_example(tmp_path, name=ORDER.name)
    html = write_page(tmp_path, [ORDER], tmp_path / "page.html").read_text()
    (drawing,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', html)
    svg = b64decode(drawing).decode()
    assert all(strategy.inbound.address in svg for strategy in OrderingStrategy)
    assert "competing consumers" in svg


def test_a_page_without_a_result_names_the_command_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        write_page(tmp_path, EXPERIMENTS)
    assert "lab all --quick" in raised.value.remedy
    (tmp_path / "order.json").write_text("{")
    with pytest.raises(UserError, match="holds no result"):
        write_page(tmp_path, EXPERIMENTS)


def test_a_result_as_markdown_has_the_command_and_both_sides(tmp_path: Path) -> None:
    _, result = run_example(tmp_path)
    lines = to_markdown(result)
    assert lines[0].startswith("`prebook lab run example --seed 7`")
    assert "| lost = 0 | with an outbox | lost 0 | = | 0 | held | held |" in lines


def test_a_table_by_arrangement_has_a_row_of_texts_for_each() -> None:
    table = ResultTable.by_arrangement(
        "Title", ("way", "sent", "s"), {"a": 1.0, "b": 2.0}, lambda s: (7, f"{s:.1f}"), ""
    )
    assert (table.columns, table.rows) == (("way", "sent", "s"), (("a", "7", "1.0"), ("b", "7", "2.0")))
