import asyncio

from prebook.messaging.outbox.keyed_queue import Lines


async def test_each_waits_for_the_one_before_it_and_other_keys_do_not() -> None:
    lines, gone = Lines[str](), list[str]()
    first, second, other = lines.joined("a"), lines.joined("a"), lines.joined("b")

    async def go() -> None:
        async with second:
            gone.append("second")

    async with first:
        waiting = asyncio.create_task(go())
        async with other:
            await asyncio.sleep(0)
            assert (other.may_go, gone) == (True, [])
        first.go_on = True
    await waiting
    assert (second.may_go, gone) == (True, ["second"])


async def test_where_one_stops_the_line_all_that_stand_in_it_step_back() -> None:
    lines = Lines[str]()
    places = [lines.joined("a") for _ in range(3)]
    for place in places:
        async with place:
            pass
    assert [place.may_go for place in places] == [True, False, False]


async def test_who_looked_before_a_line_was_stopped_steps_back_though_nobody_stands_there_any_more() -> None:
    lines = Lines[str]()
    stopped = lines.joined("a")
    lines.look()
    async with stopped:
        pass
    late = lines.joined("a")
    assert not late.may_go
    async with late:
        pass

    lines.look()
    assert lines.joined("a").may_go


async def test_a_place_without_anything_of_its_own_tells_what_it_has_heard() -> None:
    lines = Lines[str]()
    first, empty, behind = (lines.joined("a") for _ in range(3))
    async with first:
        first.stop()
    lines.look()
    async with empty:
        empty.go_on = None
    late = lines.joined("a")
    async with behind:
        behind.go_on = None
    async with late:
        pass
    assert (behind.may_go, late.may_go) == (False, True), "who had looked before, and who looked since"
