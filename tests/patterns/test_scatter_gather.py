"""Scatter-gather: every reply has one verdict, and an answer with a useful reply is complete by its deadline."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.patterns.scatter_gather import (
    Completion,
    CompletionPolicy,
    ReplyCounts,
    ReplyVerdict,
    count_verdicts,
    verdict_on,
)

POLICY = CompletionPolicy(enough=2, deadline_s=5.0)


@pytest.mark.parametrize(
    ("useful", "pending", "age_s", "expected"),
    [
        (0, 3, 0.0, None),
        (1, 2, 4.99, None),
        (1, 2, 5.0, Completion.DEADLINE),
        (0, 3, 1e9, None),
        (0, 0, 0.0, Completion.ALL_REPLIED),
        (1, 0, 0.0, Completion.ALL_REPLIED),
        (2, 1, 0.0, Completion.ENOUGH),
        (2, 0, 9.0, Completion.ENOUGH),
    ],
)
def test_an_answer_is_complete(useful: int, pending: int, age_s: float, expected: Completion | None) -> None:
    assert POLICY.completion(useful=useful, pending=pending, age_s=age_s) == expected


@given(st.integers(1, 9), st.integers(0, 8), st.integers(0, 8), st.floats(0, 20))
def test_only_an_answer_without_a_useful_reply_waits_longer_than_its_deadline(
    enough: int, useful: int, pending: int, age_s: float
) -> None:
    completed_by = CompletionPolicy(enough, 5.0).completion(useful=useful, pending=pending, age_s=age_s)
    if completed_by is None:
        assert pending
        assert not (useful and age_s >= 5.0)
        assert useful < enough


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans())))
def test_every_reply_has_one_verdict(replies: list[tuple[bool, bool, bool]]) -> None:
    verdicts = []
    for is_pending, is_open, is_readable in replies:
        verdicts.append(verdict_on(is_pending=is_pending, is_open=is_open, is_readable=is_readable))
        assert (verdicts[-1] is ReplyVerdict.DUPLICATE) is not is_pending
    counts = count_verdicts(verdicts)
    assert counts.received == len(replies)
    assert counts.settled == sum(is_pending for is_pending, _, _ in replies)


@given(st.lists(st.sampled_from(ReplyVerdict)))
def test_the_sum_of_counts_counts_all(verdicts: list[ReplyVerdict]) -> None:
    total = reduce(ReplyCounts.__add__, (count_verdicts([verdict]) for verdict in verdicts), ReplyCounts())
    assert all(getattr(total, verdict.value) == verdicts.count(verdict) for verdict in ReplyVerdict)
