"""Retry decisions, delays and schedules."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from prebook.patterns.retry import (
    MAX_EXTERNAL_ATTEMPTS,
    MAX_EXTERNAL_BACKOFF_S,
    Park,
    Retry,
    backoff_before_s,
    exponential_backoff_s,
    external_retry_decision,
    jittered_delays_s,
    outage_backoff_s,
    retry_decision,
    retry_schedule,
)

BACKOFF = (0.2, 1.0, 5.0)


def test_every_attempt_has_its_delay_and_the_last_one_parks() -> None:
    decisions = [retry_decision(n, message_id="m", max_attempts=4, backoff_s=BACKOFF) for n in (1, 2, 3, 4)]

    assert decisions[-1] == Park("attempts_exhausted")
    for decision, number, delay_s in zip(decisions, (2, 3, 4), BACKOFF, strict=False):
        assert isinstance(decision, Retry)
        assert decision.attempt == number
        assert decision.delay_s in jittered_delays_s(delay_s)


def test_one_attempt_means_no_retry() -> None:
    assert retry_decision(1, message_id="m", max_attempts=1, backoff_s=BACKOFF) == Park("attempts_exhausted")


def test_the_last_delay_repeats() -> None:
    assert [backoff_before_s(n, BACKOFF) for n in (2, 3, 4, 5, 99)] == [0.2, 1.0, 5.0, 5.0, 5.0]


@pytest.mark.parametrize(("failures", "delay_s"), [(1, 0.1), (2, 0.2), (3, 0.4), (50, 2.0)])
def test_delays_double_up_to_a_maximum(failures: int, delay_s: float) -> None:
    assert exponential_backoff_s(failures) == pytest.approx(delay_s)


def test_the_schedule_lists_all_attempts_with_their_times() -> None:
    attempts = [(a.number, a.delay_s, a.at_s) for a in retry_schedule(max_attempts=5, backoff_s=BACKOFF)]

    assert attempts == [
        (1, (0.0, 0.0), (0.0, 0.0)),
        (2, (0.2, 0.28), (0.2, 0.28)),
        (3, (1.0, 1.4), (1.2, 1.68)),
        (4, (5.0, 7.0), (6.2, 8.68)),
        (5, (5.0, 7.0), (11.2, 15.68)),
    ]


def _delays_s(attempt: int) -> list[float]:
    decisions = [
        retry_decision(attempt, message_id=f"b{n}.quote", max_attempts=9, backoff_s=BACKOFF) for n in range(900)
    ]
    return [decision.delay_s for decision in decisions if isinstance(decision, Retry)]


def test_no_delay_is_shorter_than_configured() -> None:
    assert min(jittered_delays_s(5.0)) == 5.0


def test_jitter_spreads_messages_that_failed_together() -> None:
    first = _delays_s(1)
    second = _delays_s(2)

    assert sorted(Counter(first)) == [0.2, 0.24, 0.28]
    assert max(Counter(first).values()) < 900 * 0.4
    combinations = Counter(a + b for a, b in zip(first, second, strict=True))
    assert len(combinations) == 9, "the delays of two attempts are independent"
    assert max(combinations.values()) < 900 * 0.2


def test_a_decision_is_deterministic() -> None:
    assert _delays_s(1) == _delays_s(1)


def external_retry(attempt: int, **options: Any) -> Retry:
    decision = external_retry_decision(attempt, message_id="m", **options)
    assert isinstance(decision, Retry)
    return decision


def test_an_external_system_is_tried_for_a_day_and_ever_more_rarely() -> None:
    delays_s = [external_retry(attempt).delay_s for attempt in range(1, MAX_EXTERNAL_ATTEMPTS)]
    assert 24.0 <= sum(delays_s) / 3600 <= 1.4 * 25
    assert delays_s[0] <= 1.4
    assert all(1.401 * later >= earlier for earlier, later in pairwise(delays_s))
    assert max(delays_s) <= 1.4 * MAX_EXTERNAL_BACKOFF_S
    assert external_retry_decision(MAX_EXTERNAL_ATTEMPTS, message_id="m") == Park("attempts_exhausted")


def test_an_external_system_is_not_called_sooner_than_it_asked_for() -> None:
    assert 60.0 <= external_retry(1, retry_after_s=60.0).delay_s <= 84.0
    assert external_retry(10, retry_after_s=1.0).delay_s >= 512.0, "a short wait does not undo the backoff"
    assert external_retry(1, retry_after_s=86_400.0).delay_s <= 1.4 * MAX_EXTERNAL_BACKOFF_S


def test_a_spared_call_is_no_attempt() -> None:
    decision = external_retry(MAX_EXTERNAL_ATTEMPTS, retry_after_s=15.0, was_called=False)
    assert decision.attempt == MAX_EXTERNAL_ATTEMPTS
    assert 15.0 <= decision.delay_s <= 21.0


@pytest.mark.parametrize(("failures", "delay_s"), [(1, 0.1), (5, 1.6), (20, 2.0), (50, 5.0), (500, 15.0)])
def test_delays_grow_slowly_in_a_long_outage(failures: int, delay_s: float) -> None:
    assert outage_backoff_s(failures) == pytest.approx(delay_s)
