"""KeyedQueue: order within a key, and blocking after a failure."""

import asyncio

from prebook.messaging.outbox.keyed_queue import BatchResult, KeyedQueue


async def test_a_ticket_waits_for_its_predecessor_and_not_for_other_keys() -> None:
    queue = KeyedQueue[str]()
    left = list[str]()
    first = queue.enqueue("a")
    second = queue.enqueue("a")
    other = queue.enqueue("b")

    async def enter_second() -> None:
        async with second:
            left.append("second")

    async with first:
        waiting = asyncio.create_task(enter_second())
        async with other:
            await asyncio.sleep(0)
            assert (other.may_send, left) == (True, [])
        first.result = BatchResult.SENT
    await waiting
    assert (second.may_send, left) == (True, ["second"])


async def test_a_failed_batch_blocks_all_queued_tickets_of_its_key() -> None:
    queue = KeyedQueue[str]()
    tickets = [queue.enqueue("a") for _ in range(3)]
    for ticket in tickets:
        async with ticket:
            pass
    assert [ticket.may_send for ticket in tickets] == [True, False, False]


async def test_a_key_stays_blocked_for_the_current_scan_after_its_queue_is_empty() -> None:
    queue = KeyedQueue[str]()
    failing = queue.enqueue("a")
    queue.new_scan()
    async with failing:
        pass
    late = queue.enqueue("a")
    assert not late.may_send
    async with late:
        pass

    queue.new_scan()
    assert queue.enqueue("a").may_send


async def test_an_empty_batch_passes_on_the_block_it_inherited() -> None:
    queue = KeyedQueue[str]()
    first, empty, behind = (queue.enqueue("a") for _ in range(3))
    async with first:
        first.block()
    queue.new_scan()
    async with empty:
        empty.result = BatchResult.EMPTY
    late = queue.enqueue("a")
    async with behind:
        behind.result = BatchResult.EMPTY
    async with late:
        pass
    assert (behind.may_send, late.may_send) == (False, True), "enqueued before the block, and after a new scan"
