"""Pure parts of the whole-suite benchmarks: overload of a step, memory slope, verdict on kills, counters, files."""

import os
from pathlib import Path

import pytest

from prebook.lab.bench.ride_load import RideLoadResult
from prebook.lab.bench.subjects.patterns import changed_counts
from prebook.lab.bench.subjects.ride_baseline import baseline_of, figures_of, read_baseline, write_baseline
from prebook.lab.bench.subjects.ride_counts import METRIC_LINE, STATEMENT
from prebook.lab.bench.subjects.ride_figures import MAX_P95_MS, RideFigures, overload_reason
from prebook.lab.bench.subjects.scaling import judge
from prebook.lab.bench.subjects.soak import fit_slope
from prebook.lab.process_tree import read_cpu_ms, read_private_bytes


def load_result(*, refused: int = 0, failed: int = 0, slowest_ms: float = 100.0) -> RideLoadResult:
    settled = 20 - refused - failed
    return RideLoadResult(
        20, refused, failed, sorted([50.0] * (settled - 2) + [slowest_ms] * 2), duration_s=2.0, at_rest_s=2.5
    )


def test_a_step_is_sustained_while_all_rides_settle_in_time() -> None:
    assert not overload_reason(load_result())
    assert load_result().settled_per_s == 10.0


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (load_result(refused=1), "1 of 20 rides were refused and 0 failed"),
        (load_result(failed=2), "0 of 20 rides were refused and 2 failed"),
        (load_result(slowest_ms=MAX_P95_MS + 1), "p95"),
    ],
)
def test_a_step_exceeds_the_knee(step: RideLoadResult, reason: str) -> None:
    assert reason in overload_reason(step)


def test_a_flat_and_a_steep_slope_have_correct_intervals() -> None:
    flat, half_width = fit_slope([80e6, 80.2e6] * 60, 10.0)
    assert flat - half_width <= 0.0 <= flat + half_width
    steep, half_width = fit_slope([80e6 + 1e5 * n + (n * n % 13) * 1e5 for n in range(120)], 10.0)
    assert steep == pytest.approx(1.2e6, rel=0.1)
    assert 0 < half_width < 0.1 * steep


def test_the_verdict_on_kills_counts_lost_duplicated_and_misordered_rides() -> None:
    notices = [
        {"state": "cancelled", "notices": ["confirmed", "cancelled"]},
        {"state": "cancelled", "notices": ["cancelled", "confirmed"]},
        {"state": "rejected", "notices": ["rejected", "rejected"]},
        {"state": "confirmed", "notices": None},
    ]
    verdict = judge(notices, 5)
    assert (verdict.lost, verdict.duplicated, verdict.misordered, verdict.violations) == (2, 1, 1, 4)


def test_service_statements_and_metrics_are_matched() -> None:
    log = "@prebook-fleets@ LOG:  execute __a__: \n    INSERT INTO hold (a)\n@psql@ LOG:  statement: BEGIN\n"
    statements = [(match["application"], match["text"]) for match in STATEMENT.finditer(log)]
    assert statements == [("prebook-fleets", "INSERT INTO hold (a)")]
    page = 'prebook_messages_sent_total{coupling="one_way",flow="x",kind="event"} 3.0\nprebook_other 1.0\n'
    assert [(match["name"], match["value"]) for match in METRIC_LINE.finditer(page)] == [
        ("prebook_messages_sent_total", "3.0")
    ]


def test_a_baseline_file_can_be_read_back(tmp_path: Path) -> None:
    figures = RideFigures(cpu_ms={"booking": [3.0, 1.0, 2.0], "broker": [1.0, 2.0, 3.0]})
    figures.knee_per_s = 20.04
    path = tmp_path / "baseline.json"
    write_baseline(path, baseline_of({"one_way": figures}, "RabbitMQ, PostgreSQL"))
    stored = figures_of(read_baseline(path).plans["one_way"], 2)
    assert stored.cost_ms == [4.0, 4.0]
    assert stored.knee_per_s == 20.0


def test_an_ended_process_has_no_cpu_time_and_memory() -> None:
    roots = {"present": os.getpid(), "ended": 2**22 + 1}
    assert read_cpu_ms(roots)["present"] > 0
    assert read_private_bytes(roots)["present"] > 1e6
    assert (read_cpu_ms(roots)["ended"], read_private_bytes(roots)["ended"]) == (0, 0)


def test_a_price_names_the_counts_that_a_pattern_changes_by_more_than_a_hundredth() -> None:
    without = {"broker messages": 16.0, "AMQP bytes": 16_414.0, "statements": 86.0, "HTTP requests": 0.0}
    ours = {"broker messages": 17.0, "AMQP bytes": 17_054.0, "statements": 86.2, "HTTP requests": 1.0}
    assert changed_counts(ours, without) == "broker messages +1, AMQP bytes +640, HTTP requests +1"
    assert not changed_counts(without, without)
