"""The bench's own rules: what a row says, and that one subject's trouble costs the others nothing."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from prebook.cli.main import main as prebook
from prebook.devstack.errors import UserError
from prebook.lab.bench import command
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row, unmeasured_row

SLOWER = Benchmark("asked and answered", "ms", Better.LOWER, "by hand", 1.2, "ours has headers")
MORE = Benchmark("drained", "rows/s", Better.HIGHER, "by hand", 0.9, "ours leases")
COLUMNS = {"name", "ours", "baseline", "baseline_name", "unit", "ratio", "goal", "met", "note"}


def test_the_ratio_is_the_median_of_the_rounds_own() -> None:
    made = bench_row(SLOWER, [2.0, 3.0, 8.0], [1.0, 3.0, 4.0])
    assert (made.ours, made.baseline, made.ratio, made.rounds) == (3.0, 3.0, 2.0, 3)
    assert (made.spread["ratio"].low, made.spread["ratio"].high) == (1.0, 2.0)


@pytest.mark.parametrize(("measure", "ours", "met"), [(SLOWER, 1.3, False), (MORE, 1.3, True), (MORE, 0.8, False)])
def test_a_row_that_misses_its_goal_says_so_and_why(measure: Benchmark, ours: float, met: bool) -> None:
    made = bench_row(measure, [ours], [1.0])
    assert made.met is met
    assert made.note == (measure.note if met else f"misses its goal; {measure.note}")


def test_what_could_not_be_measured_is_no_pass() -> None:
    made = unmeasured_row(MORE, "there is no such client here")
    assert (made.met, made.ratio) == (None, None)
    assert "no such client" in made.note


async def _breaks(*_: Any) -> list[BenchRow]:
    raise TimeoutError("not drained")


async def _is_in_trouble(*_: Any) -> list[BenchRow]:
    raise UserError("no processes of ours", "set PREBOOK_STACK=local")


async def _measures(*_: Any) -> list[BenchRow]:
    return [bench_row(MORE, [1.0], [1.0])]


@asynccontextmanager
async def _nowhere(_: Any) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(("first", "why"), [(_breaks, "not drained"), (_is_in_trouble, "no processes of ours")])
def test_one_subjects_trouble_costs_the_others_nothing(
    first: Callable[..., Awaitable[list[BenchRow]]], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "start_testbed", _nowhere)
    monkeypatch.setattr(command, "SUBJECTS", {"relay": first, "rpc": _measures})
    ran = CliRunner().invoke(command.bench, ["--json", "--only", "relay", "--only", "rpc"])
    assert ran.exit_code == 1, "not all that was asked for was measured"
    rows = json.loads(ran.stdout)["rows"]
    assert [each["met"] for each in rows] == [None, True]
    assert why in rows[0]["note"]
    assert all(each.keys() >= COLUMNS for each in rows)


def test_a_goal_that_is_missed_is_no_failure_of_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    async def misses(*_: Any) -> list[BenchRow]:
        return [bench_row(MORE, [0.5], [1.0])]

    monkeypatch.setattr(command, "start_testbed", _nowhere)
    monkeypatch.setattr(command, "SUBJECTS", {"relay": misses})
    assert CliRunner().invoke(command.bench, ["--only", "relay"]).exit_code == 0


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    ran = CliRunner().invoke(command.bench, ["--save-baseline", str(tmp_path / "missing" / "kept.json")])
    assert ran.exit_code == 2
    assert "there is no folder" in ran.output


def test_the_benchs_options_need_no_dashes_before_them() -> None:
    ran = CliRunner().invoke(prebook, ["bench", "--rounds", "0"])
    assert ran.exit_code == 2
    assert "'--rounds'" in ran.output
