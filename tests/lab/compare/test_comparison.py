"""Two runs beside each other: a difference that is there is found, one that is not is not, and its size is right."""

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
    """Ten rides a second, of which the first ``lost`` were refused."""
    rng = random.Random(seed)
    times = [rng.lognormvariate(0.0, 0.4) * median_ms for _ in range(rides)]
    made = [sample(n, when=n / 10, label=("one_way", "sync_api")[n % 2]) for n in range(rides)]
    fates = ["refused" if n < lost else "confirmed" for n in range(rides)]
    return [
        msgspec.structs.replace(of, response_ms=ms, settled_ms=2 * ms, notified_ms=3 * ms, outcome=fate)
        for of, ms, fate in zip(made, times, fates, strict=True)
    ]


def line_of(a: list[Sample], b: list[Sample], metric: str, statistic: str) -> tuple[float, float, float, bool, str]:
    wanted = (ALL_PLANS, metric, statistic)
    made = compare_runs(a, b, names=("a", "b"), seed=7)
    line = next(each for each in made.lines if (each.label, each.metric, each.statistic) == wanted)
    return line.difference, line.low, line.high, line.is_significant, line.summary


@pytest.mark.parametrize("statistic", ["p50", "p95", "p99"])
def test_a_run_that_is_twice_as_slow_is_told_apart_and_by_how_much(statistic: str) -> None:
    difference, low, high, apart, words = line_of(run(50, seed=1), run(100, seed=2), "time to outcome", statistic)

    assert apart
    assert low <= difference <= high
    assert low > 0
    assert words.startswith("b is slower by")


def test_two_runs_of_the_same_are_not_told_apart_more_often_than_chance_would() -> None:
    apart = [
        line_of(run(50, seed=n, rides=100), run(50, seed=1000 + n, rides=100), "time to accept", "p50")[3]
        for n in range(60)
    ]

    assert sum(apart) <= 9, "5 % of 60 are 3; more than 9 would come once in a thousand times"


def test_goodput_is_rides_answered_a_second() -> None:
    difference, low, high, apart, words = line_of(run(50, seed=1), run(50, seed=2, lost=200), GOODPUT, "rides/s")

    assert difference == pytest.approx(-5.0, abs=0.2)
    assert apart
    assert low < difference < high < 0
    assert words.startswith("b is less by ")


def test_the_beta_draw_is_the_bootstrap_of_a_quantile() -> None:
    """The same distribution as resampling value by value, at four of its points."""
    rng = random.Random(7)
    values = [float(n) for n in range(1, 102)]
    draw = quantile_draw(values, 50)
    quick = sorted(draw(rng) for _ in range(4000))
    plain = sorted(sorted(rng.choices(values, k=101))[50] for _ in range(4000))

    for at in (0.05, 0.25, 0.75, 0.95):
        assert quick[int(at * 4000)] == pytest.approx(plain[int(at * 4000)], abs=1.5)


def test_the_same_seed_gives_the_same_interval() -> None:
    a, b = (mean_draw([n * step % 7.3 for n in range(40)]) for step in (1, 2))

    assert interval(a, b, "7") == interval(a, b, "7") != interval(a, b, "8")


def test_too_few_values_make_no_p99_and_what_one_run_lacks_is_said() -> None:
    a = run(50, seed=1, rides=60)
    b = run(50, seed=2, rides=60)
    other = [msgspec.structs.replace(each, scenario="wave") for each in b[:3]]
    made = compare_runs(a, [*b, *other], names=("a", "b"), seed=7)

    assert {line.statistic for line in made.lines if line.label == ALL_PLANS} == {"p50", "p95", "rides/s"}
    assert (made.only_in_a, made.only_in_b) == ((), ("wave",))


def test_a_kept_sample_knows_what_became_of_its_ride() -> None:
    one = sample_with_outcome(answered(0, 0.0, 1.5))
    gone = sample_with_outcome(refused(1, 0.0))

    assert (one.outcome, one.settled_ms, one.notified_ms) == ("confirmed", 1500.0, 1500.0)
    assert (gone.outcome, gone.settled_ms, gone.notified_ms) == ("refused", None, None)


def test_the_command_reads_folders_and_files(tmp_path: Path) -> None:
    for name, median in (("before", 50), ("after", 100)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "samples.jsonl").write_bytes(encode_samples(run(median, seed=median)))
    a = str(tmp_path / "before")
    b = str(tmp_path / "after" / "samples.jsonl")
    plain = CliRunner().invoke(main, ["compare", a, b])
    data = CliRunner().invoke(main, ["compare", a, b, "--json"])

    assert (plain.exit_code, data.exit_code) == (0, 0)
    assert "b is slower by" in plain.output
    made = msgspec.json.decode(data.output, type=Comparison)
    assert {line.label for line in made.lines} == {ALL_PLANS, "one_way", "sync_api"}


def test_a_folder_without_samples_is_named_with_the_remedy(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["compare", str(tmp_path), str(tmp_path)])

    assert done.exit_code == 1
    assert "samples.jsonl" in done.output
