"""Costs of a ride: a line through two measured rates, and errors for files without them."""

import json
from pathlib import Path

import pytest

from prebook.devstack.errors import UserError
from prebook.flows import PROCESSES
from prebook.lab.capacity.costs import ProcessCost, fit_cost, read_costs

CPU_MS = dict.fromkeys((*PROCESSES, "broker", "database"), 5.0)
BASELINE = {"measured_on": "2026-12-01", "machine": "2 x CPU", "versions": "R, P"}


def test_two_rates_give_standing_and_marginal_cost() -> None:
    cost = fit_cost(8.0, 6.0)  # 0.12 cores at 15/s, 0.18 at 30/s
    assert cost.ms_per_ride == pytest.approx(4.0)
    assert cost.standing_cores == pytest.approx(0.06)
    assert [cost.cores(rate) for rate in (15.0, 30.0)] == pytest.approx([0.12, 0.18])
    assert cost.max_rides_per_s(0.46) == pytest.approx(100.0)


@pytest.mark.parametrize(("steady_ms", "busy_ms"), [(5.0, None), (5.0, 5.0), (4.0, 5.0)])
def test_without_a_cheaper_busy_ride_every_ride_costs_the_dearer_figure(
    steady_ms: float, busy_ms: float | None
) -> None:
    assert fit_cost(steady_ms, busy_ms) == ProcessCost(0.0, 5.0)


def test_a_fit_never_has_rides_for_nothing() -> None:
    assert fit_cost(4.0, 1.0).ms_per_ride > 0


def test_costs_are_read_by_plan(tmp_path: Path) -> None:
    figures = {"cpu_ms": CPU_MS, "busy_cpu_ms": dict.fromkeys(CPU_MS, 4.0), "counts": {}, "knee_per_s": 68.0}
    costs = read_costs(write(tmp_path, {"one_way": figures}), "one_way")
    assert costs.knee_per_s == 68.0
    assert costs.max_rides_per_s(2.0) == pytest.approx((2.0 - 8 * 0.03) / (8 * 0.003))
    with pytest.raises(UserError, match="no costs of sync_api, only of one_way"):
        read_costs(tmp_path / "costs.json", "sync_api")


def test_a_file_without_a_process_or_that_is_none_is_refused(tmp_path: Path) -> None:
    lacking = {name: value for name, value in CPU_MS.items() if name != "broker"}
    path = write(tmp_path, {"one_way": {"cpu_ms": lacking, "counts": {}, "knee_per_s": 1.0}})
    with pytest.raises(UserError, match="no cost of broker"):
        read_costs(path, "one_way")
    path.write_text("[]")
    with pytest.raises(UserError, match="cannot be read"):
        read_costs(path, "one_way")


def write(folder: Path, plans: object) -> Path:
    path = folder / "costs.json"
    path.write_text(json.dumps({**BASELINE, "plans": plans}))
    return path
