"""Rules of the bench: ratio, goal and note of a row, and independence of the subjects."""

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

LATENCY = Benchmark("request and reply", "ms", Better.LOWER, "hand-written", 1.2, "ours has headers")
THROUGHPUT = Benchmark("drain", "rows/s", Better.HIGHER, "hand-written", 0.9, "ours leases")
COLUMNS = {"name", "ours", "baseline", "baseline_name", "unit", "ratio", "goal", "met", "note"}


def test_the_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    row = bench_row(LATENCY, [2.0, 3.0, 8.0], [1.0, 3.0, 4.0])
    assert (row.ours, row.baseline, row.ratio, row.rounds) == (3.0, 3.0, 2.0, 3)
    assert (row.spread["ratio"].low, row.spread["ratio"].high) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("benchmark", "ours", "met"), [(LATENCY, 1.3, False), (THROUGHPUT, 1.3, True), (THROUGHPUT, 0.8, False)]
)
def test_a_row_that_misses_its_goal_has_a_note_with_the_reason(benchmark: Benchmark, ours: float, met: bool) -> None:
    row = bench_row(benchmark, [ours], [1.0])
    assert row.met is met
    assert row.note == (benchmark.note if met else f"misses its goal; {benchmark.note}")


def test_an_unmeasured_row_does_not_meet_its_goal() -> None:
    row = unmeasured_row(THROUGHPUT, "the client is not installed")
    assert (row.met, row.ratio) == (None, None)
    assert "not installed" in row.note


async def _fail_unexpectedly(*_: Any) -> list[BenchRow]:
    raise TimeoutError("not drained")


async def _fail_with_user_error(*_: Any) -> list[BenchRow]:
    raise UserError("no local processes", "set PREBOOK_STACK=local")


async def _measure(*_: Any) -> list[BenchRow]:
    return [bench_row(THROUGHPUT, [1.0], [1.0])]


@asynccontextmanager
async def _no_testbed(_: Any) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("first", "reason"), [(_fail_unexpectedly, "not drained"), (_fail_with_user_error, "no local processes")]
)
def test_a_failed_subject_does_not_stop_the_others(
    first: Callable[..., Awaitable[list[BenchRow]]], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "start_testbed", _no_testbed)
    monkeypatch.setattr(command, "SUBJECTS", {"relay": first, "rpc": _measure})
    result = CliRunner().invoke(command.bench, ["--json", "--only", "relay", "--only", "rpc"])
    assert result.exit_code == 1, "a requested subject was not measured"
    rows = json.loads(result.stdout)["rows"]
    assert [row["met"] for row in rows] == [None, True]
    assert reason in rows[0]["note"]
    assert all(row.keys() >= COLUMNS for row in rows)


def test_a_missed_goal_does_not_change_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    async def miss_goal(*_: Any) -> list[BenchRow]:
        return [bench_row(THROUGHPUT, [0.5], [1.0])]

    monkeypatch.setattr(command, "start_testbed", _no_testbed)
    monkeypatch.setattr(command, "SUBJECTS", {"relay": miss_goal})
    assert CliRunner().invoke(command.bench, ["--only", "relay"]).exit_code == 0


def test_a_file_that_cannot_be_written_is_refused_before_the_measurement(tmp_path: Path) -> None:
    result = CliRunner().invoke(command.bench, ["--save-baseline", str(tmp_path / "missing" / "kept.json")])
    assert result.exit_code == 2
    assert "there is no folder" in result.output


def test_the_options_of_the_bench_are_options_of_prebook_bench() -> None:
    result = CliRunner().invoke(prebook, ["bench", "--rounds", "0"])
    assert result.exit_code == 2
    assert "'--rounds'" in result.output
