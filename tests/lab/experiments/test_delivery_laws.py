"""Laws of the experiments on delivery, on deliveries and effects made by hand. No server."""

from collections import Counter
from collections.abc import Sequence

import pytest

from prebook.lab.experiments.delivery.acknowledgement_timeout import (
    REDELIVERED,
    RIGHT,
    LateRun,
    by_message,
    late_checks,
)
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.patterns.size import NO_DUPLICATE, NO_LOSS

NAMES = ["a", "b", "c"]


def late_run(deliveries: Sequence[str], effects: Sequence[str]) -> LateRun:
    timed = [(0.5 * number, name) for number, name in enumerate(deliveries)]
    return LateRun(NAMES, ["b"], by_message(timed), Counter(effects))


@pytest.mark.parametrize(
    ("deliveries", "effects", "violated"),
    [
        ("abbc", "abc", []),
        ("aabbc", "abc", []),
        ("abc", "abc", [REDELIVERED]),
        ("abbc", "ab", [NO_LOSS]),
        ("abbc", "abbc", [NO_DUPLICATE]),
    ],
)
def test_a_slow_message_comes_again_and_has_one_effect(deliveries: str, effects: str, violated: list[str]) -> None:
    checks = late_checks(RIGHT, late_run(deliveries, effects))
    assert [check.law for check in checks if check.verdict is LawVerdict.VIOLATED] == violated


def test_the_time_until_a_slow_message_comes_again_is_that_of_its_second_delivery() -> None:
    assert late_run("abcbb", "abc").longest_s == 1.0
    assert late_run("aabc", "abc").longest_s == 0
