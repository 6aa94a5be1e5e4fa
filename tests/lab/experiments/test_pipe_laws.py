"""Laws of the experiments with pipes on samples and counts made by hand. No server."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.pipes import pipes_and_filters as pipes
from prebook.lab.experiments.pipes import push_rate as push
from prebook.lab.experiments.pipes.samples import PipePace, PipeSample, pace_of, read_samples
from prebook.patterns.pipe import PipeAccount

PIPE = pipes.pipe_of(pipes.PipeSize(), "queue")
BATCH_S = {"filter": 0.0001, "enrich": 0.04, "push": 0.02}
"""Times of the stages; enriching, two at a time, is the slowest with 50 items a second."""


def samples(per_s: float, *, count: int = 50, lag_s: float = 0.0, **waiting: int) -> list[PipeSample]:
    lines = {"filter": 4, "enrich": 4, "push": 0} | waiting
    return [
        PipeSample(
            at_s=number / 10,
            ended=round(number * per_s / 10),
            waiting=lines,
            batches=dict.fromkeys(BATCH_S, 10 * number),
            busy_s={name: 3.0 + 10 * number * each_s for name, each_s in BATCH_S.items()},
            lag_s=lag_s,
        )
        for number in range(count)
    ]


def account(**changes: int) -> PipeAccount:
    return PipeAccount(**({"received": 10, "filtered": 2, "delivered": 5, "parked": 1, "waiting": 2} | changes))


def violated(run: pipes.PipeRun) -> list[str]:
    return [check.law for check in pipes.pace_checks(pipes.RIGHT, run, LawVerdict.HELD) if check.problem]


def run_of(pace: PipePace, **changes: int) -> pipes.PipeRun:
    return pipes.PipeRun(account(**changes), pace)


def test_the_pace_is_measured_in_the_steady_part() -> None:
    pace = pace_of(PIPE, samples(50.0), 250)
    assert (pace.slowest, pace.doubt) == ("enrich", "")
    assert pace.capacity_per_s == pytest.approx(50.0)
    assert pace.per_s == pytest.approx(50.0, rel=0.01)
    assert (pace.waiting_before, pace.waiting_behind) == (8.0, 0.0)


@pytest.mark.parametrize(
    ("per_s", "waiting", "laws"),
    [
        (50.0, {}, []),
        (46.0, {}, []),
        (40.0, {}, [pipes.AS_FAST]),
        (60.0, {}, [pipes.NO_FASTER]),
        (50.0, {"push": 1}, [pipes.BACKLOG]),
    ],
)
def test_a_pace_that_is_not_the_slowest_stages_violates_a_law(
    per_s: float, waiting: Mapping[str, int], laws: list[str]
) -> None:
    assert violated(run_of(pace_of(PIPE, samples(per_s, **waiting), round(5 * per_s)))) == laws


@pytest.mark.parametrize("changes", [{"delivered": 4}, {"waiting": 3}, {"parked": 0}])
def test_a_lost_or_repeated_item_violates_the_account_only(changes: Mapping[str, int]) -> None:
    assert violated(run_of(pace_of(PIPE, samples(50.0), 250), **changes)) == [pipes.ACCOUNTED]


def test_a_busy_machine_makes_the_pace_inconclusive_and_not_the_account() -> None:
    pace = pace_of(PIPE, samples(20.0, lag_s=0.02), 100)
    checks = list(pipes.pace_checks(pipes.RIGHT, run_of(pace, delivered=4), LawVerdict.HELD))
    assert [check.verdict for check in checks] == [LawVerdict.VIOLATED, *3 * [LawVerdict.INCONCLUSIVE]]


def test_a_run_without_a_steady_part_has_no_pace() -> None:
    with pytest.raises(ValueError, match="samples"):
        pace_of(PIPE, samples(50.0, count=3), 1_000)


def test_a_sample_that_a_kill_has_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    whole = samples(50.0, count=2)
    lines = [msgspec.json.encode(sample) for sample in whole]
    path.write_bytes(b"\n".join([*lines, lines[0][:20]]))
    assert read_samples(path) == whole
    assert read_samples(tmp_path / "none") == []


def phase(per_s: float, *, gap_s: float = 0.05, capacity_per_s: float = 90.0, lag_s: float = 0.001) -> push.PhaseRate:
    return push.PhaseRate(push.GROWS, per_s, longest_gap_s=gap_s, capacity_per_s=capacity_per_s, lag_s=lag_s, backlog=3)


@pytest.mark.parametrize(
    ("found", "laws"),
    [(phase(30.0), []), (phase(28.6), []), (phase(28.0), [push.NOT_SLOWER]), (phase(32.0), [push.NOT_FASTER])],
)
def test_a_rate_outside_of_the_tolerance_violates_a_law(found: push.PhaseRate, laws: list[str]) -> None:
    checks = push.rate_checks(push.RIGHT, found, 30.0)
    assert [check.law for check in checks if check.problem] == [law.format(phase=push.GROWS) for law in laws]


@pytest.mark.parametrize("found", [phase(20.0, gap_s=0.3), phase(20.0, capacity_per_s=40.0), phase(20.0, lag_s=0.01)])
def test_a_busy_machine_makes_the_rate_inconclusive(found: push.PhaseRate) -> None:
    assert {check.verdict for check in push.rate_checks(push.RIGHT, found, 30.0)} == {LawVerdict.INCONCLUSIVE}


def test_the_rate_counts_intervals_between_arrivals() -> None:
    assert push.rate_between([0.0, 1.0, 1.5, 2.0, 9.0], 0.5, 3.0) == (2.0, 0.5)
    assert push.rate_between([1.0], 0.5, 3.0) == (0.0, 2.5)


def test_more_pushes_in_flight_than_the_parallelism_violate_the_bound() -> None:
    assert push.bound_check(push.RIGHT, push.PARALLELISM).verdict is LawVerdict.HELD
    assert push.bound_check(push.RIGHT, push.PARALLELISM + 1).verdict is LawVerdict.VIOLATED


def test_an_item_that_was_not_pushed_violates_the_delivery() -> None:
    lost = push.PushRun(sent=3, delivered=2, max_in_flight=1, phases=())
    assert push.delivery_check(push.RIGHT, lost).verdict is LawVerdict.VIOLATED
