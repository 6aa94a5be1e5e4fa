"""Who goes together."""

from hypothesis import given
from hypothesis import strategies as st

from prebook.patterns.batch_selection import BatchCandidate, select_batch

waiting = st.lists(st.builds(BatchCandidate, st.sampled_from("abcdef"), st.integers(1, 5)), max_size=20)


def test_as_many_go_as_all_of_them_allow() -> None:
    queue = [BatchCandidate("a", 3), BatchCandidate("b", 4), BatchCandidate("c", 9), BatchCandidate("d", 9)]
    assert select_batch(queue, ()) == [0, 1, 2]


def test_who_goes_alone_waits_for_its_turn_and_takes_nobody() -> None:
    queue = [BatchCandidate("a", 4), BatchCandidate("b", 1), BatchCandidate("c", 4)]
    assert select_batch(queue, ()) == [0, 2]
    assert select_batch(queue[1:], ()) == [0]


def test_one_of_a_key_at_a_time() -> None:
    queue = [BatchCandidate("a", 4), BatchCandidate("a", 4), BatchCandidate("b", 4)]
    assert select_batch(queue, ()) == [0, 2]
    assert select_batch(queue, {"a"}) == [2]


@given(waiting, st.sets(st.sampled_from("abcdef")))
def test_each_keys_order_is_kept_and_nobody_is_with_more_than_it_allows(
    queue: list[BatchCandidate], under_way: set[str]
) -> None:
    taken = select_batch(queue, under_way)
    keys = [queue[place].key for place in taken]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & under_way
    assert all(queue[place].max_batch_size >= len(taken) for place in taken)
    assert all(queue[place].key not in {one.key for one in queue[:place]} for place in taken)
    assert taken or all(one.key in under_way for one in queue)
