import pytest

from prebook.patterns.retry import Park, Retry, after_failure, exponential, pause_before, schedule

BACKOFF = (0.2, 1.0, 5.0)


def test_attempts_are_handlings() -> None:
    decisions = [after_failure(n, max_attempts=4, backoff_s=BACKOFF) for n in (1, 2, 3, 4)]

    assert decisions == [Retry(2, 0.2), Retry(3, 1.0), Retry(4, 5.0), Park("attempts_used_up")]


def test_one_attempt_means_no_retry() -> None:
    assert after_failure(1, max_attempts=1, backoff_s=BACKOFF) == Park("attempts_used_up")


def test_the_last_pause_repeats() -> None:
    assert [pause_before(n, BACKOFF) for n in (2, 3, 4, 5, 99)] == [0.2, 1.0, 5.0, 5.0, 5.0]


@pytest.mark.parametrize(("failures", "pause"), [(1, 0.1), (2, 0.2), (3, 0.4), (50, 2.0)])
def test_pauses_double_up_to_a_bound(failures: int, pause: float) -> None:
    assert exponential(failures) == pytest.approx(pause)


def test_the_schedule_says_when_each_attempt_would_happen() -> None:
    lines = [(a.number, a.pause_s, a.at_s) for a in schedule(max_attempts=5, backoff_s=BACKOFF)]

    assert lines == [(1, 0.0, 0.0), (2, 0.2, 0.2), (3, 1.0, 1.2), (4, 5.0, 6.2), (5, 5.0, 11.2)]
