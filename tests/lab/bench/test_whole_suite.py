"""The pure parts of measuring the whole suite: when a step is too much, what a slope is, what a burst suffered."""

import os
from pathlib import Path

import pytest

from prebook.lab.bench.ride_load import RideLoadResult
from prebook.lab.bench.subjects.ride_baseline import baseline_of, figures_of, read_baseline, write_baseline
from prebook.lab.bench.subjects.ride_counts import METRIC_LINE, STATEMENT
from prebook.lab.bench.subjects.ride_figures import MAX_P95_MS, RideFigures, overload_reason
from prebook.lab.bench.subjects.scaling import judge
from prebook.lab.bench.subjects.soak import fit_slope
from prebook.lab.process_tree import read_cpu_ms, read_private_bytes


def offered(*, refused: int = 0, failed: int = 0, slowest_ms: float = 100.0) -> RideLoadResult:
    settled = 20 - refused - failed
    return RideLoadResult(
        20, refused, failed, sorted([50.0] * (settled - 2) + [slowest_ms] * 2), duration_s=2.0, at_rest_s=2.5
    )


def test_a_step_holds_while_all_are_settled_in_time() -> None:
    assert not overload_reason(offered())
    assert offered().settled_per_s == 10.0


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (offered(refused=1), "1 were refused and 0 failed of 20"),
        (offered(failed=2), "0 were refused and 2 failed of 20"),
        (offered(slowest_ms=MAX_P95_MS + 1), "p95"),
    ],
)
def test_a_step_is_too_much(step: RideLoadResult, says: str) -> None:
    assert says in overload_reason(step)


def test_a_slope_and_its_interval() -> None:
    level, reach = fit_slope([80e6, 80.2e6] * 60, 10.0)
    assert level - reach <= 0.0 <= level + reach
    steep, reach = fit_slope([80e6 + 1e5 * n + (n * n % 13) * 1e5 for n in range(120)], 10.0)
    assert steep == pytest.approx(1.2e6, rel=0.1)
    assert 0 < reach < 0.1 * steep


def test_what_a_burst_suffered() -> None:
    notices = [
        {"state": "cancelled", "notices": ["confirmed", "cancelled"]},
        {"state": "cancelled", "notices": ["cancelled", "confirmed"]},
        {"state": "rejected", "notices": ["rejected", "rejected"]},
        {"state": "confirmed", "notices": None},
    ]
    found = judge(notices, 5)
    assert (found.lost, found.duplicated, found.misordered, found.violations) == (2, 1, 1, 4)


def test_statements_and_metrics_are_told_apart() -> None:
    log = "@prebook-fleets@ LOG:  execute __a__: \n    INSERT INTO hold (a)\n@psql@ LOG:  statement: BEGIN\n"
    told = [(each["who"], each["text"]) for each in STATEMENT.finditer(log)]
    assert told == [("prebook-fleets", "INSERT INTO hold (a)")]
    page = 'prebook_messages_sent_total{coupling="one_way",flow="x",kind="event"} 3.0\nprebook_other 1.0\n'
    assert [(each["name"], each["value"]) for each in METRIC_LINE.finditer(page)] == [
        ("prebook_messages_sent_total", "3.0")
    ]


def test_figures_are_kept_and_read_again(tmp_path: Path) -> None:
    taken = RideFigures(cpu_ms={"booking": [3.0, 1.0, 2.0], "broker": [1.0, 2.0, 3.0]})
    taken.knee_per_s = 20.04
    path = tmp_path / "kept.json"
    write_baseline(path, baseline_of({"one_way": taken}, "RabbitMQ, PostgreSQL"))
    again = figures_of(read_baseline(path).plans["one_way"], 2)
    assert again.cost_ms == [4.0, 4.0]
    assert again.knee_per_s == 20.0


def test_processor_time_and_memory_of_a_process_that_is_there_and_of_one_that_is_not() -> None:
    roots = {"us": os.getpid(), "nobody": 2**22 + 1}
    assert read_cpu_ms(roots)["us"] > 0
    assert read_private_bytes(roots)["us"] > 1e6
    assert (read_cpu_ms(roots)["nobody"], read_private_bytes(roots)["nobody"]) == (0, 0)
