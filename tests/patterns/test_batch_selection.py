"""select_batch: size, keys and order of a batch."""

from hypothesis import given
from hypothesis import strategies as st

from prebook.patterns.batch_selection import BatchCandidate, select_batch

waiting = st.lists(st.builds(BatchCandidate, st.sampled_from("abcdef"), st.integers(1, 5)), max_size=20)


def test_a_batch_is_as_large_as_all_its_members_allow() -> None:
    queue = [BatchCandidate("a", 3), BatchCandidate("b", 4), BatchCandidate("c", 9), BatchCandidate("d", 9)]
    assert select_batch(queue, ()) == [0, 1, 2]


def test_an_isolated_candidate_shares_its_batch_with_none() -> None:
    queue = [BatchCandidate("a", 4), BatchCandidate("b", 1), BatchCandidate("c", 4)]
    assert select_batch(queue, ()) == [0, 2]
    assert select_batch(queue[1:], ()) == [0]


def test_a_batch_has_one_candidate_per_key() -> None:
    queue = [BatchCandidate("a", 4), BatchCandidate("a", 4), BatchCandidate("b", 4)]
    assert select_batch(queue, ()) == [0, 2]
    assert select_batch(queue, {"a"}) == [2]


@given(waiting, st.sets(st.sampled_from("abcdef")))
def test_batches_keep_the_order_of_each_key_and_all_size_limits(
    queue: list[BatchCandidate], busy_keys: set[str]
) -> None:
    batch = select_batch(queue, busy_keys)
    keys = [queue[index].key for index in batch]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & busy_keys
    assert all(queue[index].max_batch_size >= len(batch) for index in batch)
    assert all(queue[index].key not in {candidate.key for candidate in queue[:index]} for index in batch)
    assert batch or all(candidate.key in busy_keys for candidate in queue)
