"""Who goes together."""

from hypothesis import given
from hypothesis import strategies as st

from prebook.patterns.batch_selection import Passenger, together

waiting = st.lists(st.builds(Passenger, st.sampled_from("abcdef"), st.integers(1, 5)), max_size=20)


def test_as_many_go_as_all_of_them_allow() -> None:
    queue = [Passenger("a", 3), Passenger("b", 4), Passenger("c", 9), Passenger("d", 9)]
    assert together(queue, ()) == [0, 1, 2]


def test_who_goes_alone_waits_for_its_turn_and_takes_nobody() -> None:
    queue = [Passenger("a", 4), Passenger("b", 1), Passenger("c", 4)]
    assert together(queue, ()) == [0, 2]
    assert together(queue[1:], ()) == [0]


def test_one_of_a_key_at_a_time() -> None:
    queue = [Passenger("a", 4), Passenger("a", 4), Passenger("b", 4)]
    assert together(queue, ()) == [0, 2]
    assert together(queue, {"a"}) == [2]


@given(waiting, st.sets(st.sampled_from("abcdef")))
def test_each_keys_order_is_kept_and_nobody_is_with_more_than_it_allows(
    queue: list[Passenger], under_way: set[str]
) -> None:
    taken = together(queue, under_way)
    keys = [queue[place].key for place in taken]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & under_way
    assert all(queue[place].most >= len(taken) for place in taken)
    assert all(queue[place].key not in {one.key for one in queue[:place]} for place in taken)
    assert taken or all(one.key in under_way for one in queue)
