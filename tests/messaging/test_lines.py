import asyncio

from prebook.messaging.outbox.keyed_queue import BatchResult, KeyedQueue


async def test_each_waits_for_the_one_before_it_and_other_keys_do_not() -> None:
    lines, gone = KeyedQueue[str](), list[str]()
    first, second, other = lines.enqueue("a"), lines.enqueue("a"), lines.enqueue("b")

    async def go() -> None:
        async with second:
            gone.append("second")

    async with first:
        waiting = asyncio.create_task(go())
        async with other:
            await asyncio.sleep(0)
            assert (other.may_send, gone) == (True, [])
        first.result = BatchResult.SENT
    await waiting
    assert (second.may_send, gone) == (True, ["second"])


async def test_where_one_stops_the_line_all_that_stand_in_it_step_back() -> None:
    lines = KeyedQueue[str]()
    places = [lines.enqueue("a") for _ in range(3)]
    for place in places:
        async with place:
            pass
    assert [place.may_send for place in places] == [True, False, False]


async def test_who_looked_before_a_line_was_stopped_steps_back_though_nobody_stands_there_any_more() -> None:
    lines = KeyedQueue[str]()
    stopped = lines.enqueue("a")
    lines.new_scan()
    async with stopped:
        pass
    late = lines.enqueue("a")
    assert not late.may_send
    async with late:
        pass

    lines.new_scan()
    assert lines.enqueue("a").may_send


async def test_a_place_without_anything_of_its_own_tells_what_it_has_heard() -> None:
    lines = KeyedQueue[str]()
    first, empty, behind = (lines.enqueue("a") for _ in range(3))
    async with first:
        first.block()
    lines.new_scan()
    async with empty:
        empty.result = BatchResult.EMPTY
    late = lines.enqueue("a")
    async with behind:
        behind.result = BatchResult.EMPTY
    async with late:
        pass
    assert (behind.may_send, late.may_send) == (False, True), "who had looked before, and who looked since"
