"""Counts, predictions, laws and the picture of the sweep over groups, on effects made by hand. No server."""

import re
from collections.abc import Sequence
from random import Random

import pytest

from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.ordering.groups import Arrangement, predict
from prebook.lab.experiments.ordering.registration import COMPLETE, LAW
from prebook.lab.experiments.ordering.sequence import (
    KeyDistribution,
    MessageSequence,
    count_incomplete,
    count_overtaking,
    count_overtaking_by_key,
    draw_sequence,
    throughput,
)
from prebook.lab.experiments.ordering.sweep import (
    BOUND,
    COMPETING,
    GLOBAL_LAW,
    PARALLEL,
    PREDICTED,
    SweepRun,
    linear_check,
    sweep_checks,
)
from prebook.lab.experiments.ordering.timeline import timeline
from prebook.lab.experiments.ordering.workers import Effect

WORK_S = 0.5
ONE_GROUP = Arrangement(KeyDistribution.UNIFORM, 8, 1)


def effects_of(positions: Sequence[int], *, every_s: float = WORK_S) -> list[Effect]:
    return [Effect(each, 0, number * every_s, number * every_s + WORK_S) for number, each in enumerate(positions)]


@pytest.mark.parametrize(("positions", "count"), [((), 0), ((0, 1, 2), 0), ((1, 0, 2), 1), ((2, 0, 1), 2)])
def test_a_message_is_overtaken_if_a_later_one_has_its_effect_before(positions: Sequence[int], count: int) -> None:
    assert count_overtaking(positions) == count


def test_only_messages_of_the_same_key_violate_the_order_of_a_key() -> None:
    assert count_overtaking_by_key(effects_of([1, 0, 3, 2]), "abab") == 0
    assert count_overtaking_by_key(effects_of([2, 1, 0, 3]), "abab") == 1


def test_lost_and_doubled_messages_are_incomplete() -> None:
    assert count_incomplete(effects_of([0, 1, 2]), 3) == 0
    assert count_incomplete(effects_of([0, 1, 1]), 3) == 2


def test_the_throughput_is_that_between_the_first_start_and_the_last_end() -> None:
    assert throughput(effects_of([0, 1, 2, 3])) == pytest.approx(2)
    assert throughput(effects_of([0, 1, 2, 3], every_s=0.0)) == pytest.approx(8)
    assert throughput([]) == 0


@pytest.mark.parametrize(("distribution", "at_most"), [(KeyDistribution.UNIFORM, 80), (KeyDistribution.HOT, 400)])
def test_keys_occur_equally_often_or_by_zipfs_law(distribution: KeyDistribution, at_most: int) -> None:
    sequence = draw_sequence(distribution, messages=1_000, keys=20, mean_work_s=0.01, rng=Random(7))
    counts = [sequence.keys.count(f"key-{number:03}") for number in range(20)]
    assert sum(counts) == 1_000
    assert max(counts) <= at_most
    assert (counts[0] / counts[9] > 5) is (distribution is KeyDistribution.HOT)
    assert all(0 <= work_s <= 0.02 for work_s in sequence.work_s)


def test_the_busiest_consumer_limits_the_prediction() -> None:
    even = MessageSequence(["a", "b", "c", "d"] * 4, [0.1] * 16)
    competing = predict(Arrangement(KeyDistribution.UNIFORM, 4), even)
    one = predict(Arrangement(KeyDistribution.UNIFORM, 4, 1), even)
    hot = predict(Arrangement(KeyDistribution.HOT, 4, 64), MessageSequence([*"aaaaaaab"], [0.1] * 8))
    assert [each.groups for each in (competing, one, hot)] == [4, 1, 2]
    assert [each.bound for each in (competing, one, hot)] == pytest.approx([40, 10, 20])
    assert [each.expected for each in (competing, one, hot)] == pytest.approx([40, 10, 80 / 7])
    assert "88%" in hot.limit


@pytest.mark.parametrize(
    ("arrangement", "positions", "violated"),
    [
        (COMPETING, [0, 1, 2, 3], []),
        (COMPETING, [0, 3, 2, 1], [LAW]),
        (COMPETING, [0, 1, 2], [COMPLETE]),
        (ONE_GROUP, [0, 1, 2, 3], []),
        (ONE_GROUP, [1, 0, 2, 3], [GLOBAL_LAW]),
        (PARALLEL, [1, 0, 2, 3], [GLOBAL_LAW]),
        (PARALLEL, [0, 1, 2, 3], []),
    ],
)
def test_order_is_judged_by_key_and_over_all_keys(
    arrangement: Arrangement, positions: Sequence[int], violated: list[str]
) -> None:
    sequence = MessageSequence("abab", [0.5] * 4)
    seen = SweepRun(arrangement, sequence, effects_of(positions))
    assert [check.law for check in sweep_checks(seen, "busy") if check.verdict is LawVerdict.VIOLATED] == violated


@pytest.mark.parametrize(
    ("every_s", "doubt", "verdicts"),
    [
        (0.5, "", {BOUND: LawVerdict.HELD, PREDICTED: LawVerdict.HELD}),
        (0.4, "", {BOUND: LawVerdict.VIOLATED, PREDICTED: LawVerdict.HELD}),
        (0.8, "", {BOUND: LawVerdict.HELD, PREDICTED: LawVerdict.VIOLATED}),
        (0.8, "busy", {BOUND: LawVerdict.HELD, PREDICTED: LawVerdict.INCONCLUSIVE}),
    ],
)
def test_throughput_is_judged_by_groups_and_by_the_busiest_consumer(
    every_s: float, doubt: str, verdicts: dict[str, LawVerdict]
) -> None:
    seen = SweepRun(ONE_GROUP, MessageSequence("abab", [0.5] * 4), effects_of([0, 1, 2, 3], every_s=every_s))
    assert {c.law: c.verdict for c in sweep_checks(seen, doubt) if c.law in verdicts} == verdicts


def test_more_groups_than_consumers_are_not_worth_more() -> None:
    many = Arrangement(KeyDistribution.UNIFORM, 8, 64)
    sequence = MessageSequence("ab" * 64, [WORK_S] * 128)
    by_consumers = SweepRun(many, sequence, effects_of(range(128), every_s=WORK_S / 8))
    by_groups = SweepRun(many, sequence, effects_of(range(128), every_s=0.0))
    assert linear_check(by_consumers).verdict is LawVerdict.VIOLATED
    assert linear_check(by_groups).verdict is LawVerdict.HELD


def test_the_prediction_follows_from_the_measured_work() -> None:
    planned = MessageSequence("abab", [WORK_S / 2] * 4)
    assert "100% longer" in SweepRun(ONE_GROUP, planned, effects_of([0, 1, 2, 3])).doubt
    assert not SweepRun(ONE_GROUP, MessageSequence("abab", [WORK_S] * 4), effects_of([0, 1, 2, 3])).doubt
    assert SweepRun(ONE_GROUP, planned, effects_of([0, 1, 2, 3])).prediction.bound == pytest.approx(2)
    assert SweepRun(ONE_GROUP, planned, effects_of([0, 1])).prediction.bound == pytest.approx(4 / 1.5)


def test_the_timeline_has_a_row_for_each_group_and_marks_what_was_overtaken() -> None:
    svg = timeline("<title>", effects_of([1, 0, 2, 3]), lambda position: position % 2)
    assert re.findall(r">(group \d|global order)<", svg) == ["group 0", "group 1", "global order"]
    assert re.findall(r'class="(bar|late)"/><text[^>]*>(\d)<', svg) == [
        ("bar", "0"),
        ("bar", "2"),
        ("bar", "1"),
        ("bar", "3"),
        ("bar", "1"),
        ("late", "0"),
        ("bar", "2"),
        ("bar", "3"),
    ]
    assert "<title><title>" not in svg
