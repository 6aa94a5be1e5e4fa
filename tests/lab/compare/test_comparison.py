"""Comparison of two runs: existing differences are found with the right size, and chance makes no difference."""

import random
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from prebook.lab.cli import main
from prebook.lab.compare.bootstrap import interval, mean_draw, quantile_draw
from prebook.lab.compare.comparison import ALL_PLANS, GOODPUT, Comparison, compare_runs
from prebook.lab.ledger.accounts import sample_with_outcome
from prebook.lab.load.samples import Sample, encode_samples
from tests.lab.ledger.accounts_builder import answered, refused, sample


def run(median_ms: float, *, seed: int, rides: int = 400, lost: int = 0) -> list[Sample]:
    """Return ten rides per second for ``rides`` rides, the first ``lost`` of them refused."""
    rng = random.Random(seed)
    times = [rng.lognormvariate(0.0, 0.4) * median_ms for _ in range(rides)]
    samples = [sample(n, when=n / 10, label=("one_way", "sync_api")[n % 2]) for n in range(rides)]
    outcomes = ["refused" if n < lost else "confirmed" for n in range(rides)]
    return [
        msgspec.structs.replace(offered, response_ms=ms, settled_ms=2 * ms, notified_ms=3 * ms, outcome=outcome)
        for offered, ms, outcome in zip(samples, times, outcomes, strict=True)
    ]


def line_of(a: list[Sample], b: list[Sample], metric: str, statistic: str) -> tuple[float, float, float, bool, str]:
    key = (ALL_PLANS, metric, statistic)
    comparison = compare_runs(a, b, names=("a", "b"), seed=7)
    line = next(line for line in comparison.lines if (line.label, line.metric, line.statistic) == key)
    return line.difference, line.low, line.high, line.is_significant, line.summary


@pytest.mark.parametrize("statistic", ["p50", "p95", "p99"])
def test_a_run_that_is_twice_as_slow_differs_significantly(statistic: str) -> None:
    difference, low, high, significant, summary = line_of(
        run(50, seed=1), run(100, seed=2), "time to outcome", statistic
    )

    assert significant
    assert low <= difference <= high
    assert low > 0
    assert summary.startswith("b is slower by")


def test_equal_runs_differ_significantly_no_more_often_than_by_chance() -> None:
    significant = [
        line_of(run(50, seed=n, rides=100), run(50, seed=1000 + n, rides=100), "time to accept", "p50")[3]
        for n in range(60)
    ]

    assert sum(significant) <= 9, "5 % of 60 are 3; more than 9 have a probability of one in a thousand"


def test_goodput_is_the_number_of_settled_rides_per_second() -> None:
    difference, low, high, significant, summary = line_of(
        run(50, seed=1), run(50, seed=2, lost=200), GOODPUT, "rides/s"
    )

    assert difference == pytest.approx(-5.0, abs=0.2)
    assert significant
    assert low < difference < high < 0
    assert summary.startswith("b is less by ")


def test_the_beta_draw_is_the_bootstrap_of_a_quantile() -> None:
    """Compare the distribution with that of plain resampling at four of its points."""
    rng = random.Random(7)
    values = [float(n) for n in range(1, 102)]
    draw = quantile_draw(values, 50)
    drawn = sorted(draw(rng) for _ in range(4000))
    resampled = sorted(sorted(rng.choices(values, k=101))[50] for _ in range(4000))

    for share in (0.05, 0.25, 0.75, 0.95):
        assert drawn[int(share * 4000)] == pytest.approx(resampled[int(share * 4000)], abs=1.5)


def test_the_same_seed_gives_the_same_interval() -> None:
    a, b = (mean_draw([n * step % 7.3 for n in range(40)]) for step in (1, 2))

    assert interval(a, b, "7") == interval(a, b, "7") != interval(a, b, "8")


def test_too_few_values_have_no_p99_and_a_missing_scenario_is_named() -> None:
    a = run(50, seed=1, rides=60)
    b = run(50, seed=2, rides=60)
    other = [msgspec.structs.replace(offered, scenario="wave") for offered in b[:3]]
    comparison = compare_runs(a, [*b, *other], names=("a", "b"), seed=7)

    assert {line.statistic for line in comparison.lines if line.label == ALL_PLANS} == {"p50", "p95", "rides/s"}
    assert (comparison.only_in_a, comparison.only_in_b) == ((), ("wave",))


def test_a_stored_sample_has_the_outcome_of_its_ride() -> None:
    confirmed = sample_with_outcome(answered(0, 0.0, 1.5))
    rejected = sample_with_outcome(refused(1, 0.0))

    assert (confirmed.outcome, confirmed.settled_ms, confirmed.notified_ms) == ("confirmed", 1500.0, 1500.0)
    assert (rejected.outcome, rejected.settled_ms, rejected.notified_ms) == ("refused", None, None)


def test_the_command_reads_folders_and_files(tmp_path: Path) -> None:
    for name, median in (("before", 50), ("after", 100)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "samples.jsonl").write_bytes(encode_samples(run(median, seed=median)))
    a = str(tmp_path / "before")
    b = str(tmp_path / "after" / "samples.jsonl")
    text = CliRunner().invoke(main, ["compare", a, b])
    json = CliRunner().invoke(main, ["compare", a, b, "--json"])

    assert (text.exit_code, json.exit_code) == (0, 0)
    assert "b is slower by" in text.output
    comparison = msgspec.json.decode(json.output, type=Comparison)
    assert {line.label for line in comparison.lines} == {ALL_PLANS, "one_way", "sync_api"}


def test_a_folder_without_samples_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["compare", str(tmp_path), str(tmp_path)])

    assert result.exit_code == 1
    assert "samples.jsonl" in result.output
