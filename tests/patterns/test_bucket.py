"""TokenBucket: rate and burst."""

import pytest

from prebook.patterns.bucket import TokenBucket


def test_a_burst_passes_at_once_and_then_one_at_a_time() -> None:
    bucket = TokenBucket.full(per_s=2.0, burst=3, now=0.0)
    for _ in range(3):
        assert bucket.wait_s(0.0) == 0.0
        bucket = bucket.taken(0.0)

    assert [bucket.wait_s(at) for at in (0.0, 0.4, 0.5)] == pytest.approx([0.5, 0.1, 0.0])


def test_the_bucket_never_holds_more_than_its_burst() -> None:
    bucket = TokenBucket.full(per_s=2.0, burst=3, now=0.0).taken(0.0)

    assert bucket.refilled(1000.0).tokens == 3
    assert (bucket.is_full(0.0), bucket.is_full(0.5)) == (False, True)


def test_owed_tokens_are_waited_for_and_a_clock_going_back_adds_none() -> None:
    bucket = TokenBucket.full(per_s=1.0, burst=1, now=10.0).taken(10.0).taken(10.0)

    assert bucket.wait_s(10.0) == 2.0
    assert bucket.refilled(5.0) == bucket
