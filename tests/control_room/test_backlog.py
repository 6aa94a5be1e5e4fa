"""Depth and age of a leg's messages, from totals that a killed process may leave wrong."""

from typing import Any

from prebook.control_room.backlog import EMPTY_FOR_S, Backlogs, QueueLeg
from prebook.control_room.drawing import queue_legs
from prebook.rabbit.management import QueueDepth

QUEUE = "pricing.requests.quote_fare"
LEG = "quote_fare/request_reply/request"
LEGS = {LEG: QueueLeg(LEG, LEG, QUEUE)}


def totals(sent: int, handled: int, **others: int) -> dict[str, dict[str, int]]:
    return {LEG: {"sent": sent, "handled": handled, **others}}


def depth_of(messages: int) -> dict[str, QueueDepth]:
    return {QUEUE: QueueDepth(ready=messages, unacknowledged=0, consumers=1)}


def leg(found: dict[str, dict[str, Any]]) -> tuple[int, float]:
    return (found[LEG]["depth"], found[LEG]["since_s"]) if LEG in found else (0, 0.0)


def test_what_is_sent_and_not_handled_waits_since_it_was_sent() -> None:
    backlogs = Backlogs(LEGS)
    backlogs.note_messages(100.0, totals(10, 10))
    backlogs.note_messages(101.0, totals(12, 10))
    assert leg(backlogs.note_messages(103.0, totals(15, 10))) == (5, 101.0)
    # Eleven and twelve are handled: the oldest one left is the thirteenth, sent by 103.
    assert leg(backlogs.note_messages(104.0, totals(15, 12))) == (3, 103.0)
    assert leg(backlogs.note_messages(105.0, totals(15, 15))) == (0, 0.0)


def test_duplicates_and_requests_that_expired_at_their_receiver_do_not_wait() -> None:
    backlogs = Backlogs(LEGS)
    assert leg(backlogs.note_messages(100.0, totals(10, 6, duplicate=1, expired_inbound=2, expired=9))) == (1, 100.0)


def test_counts_that_a_kill_has_lost_are_measured_while_the_queue_is_empty() -> None:
    backlogs = Backlogs(LEGS)
    at_s = 100.0
    backlogs.note_queues(at_s, depth_of(0))
    while at_s < 100.0 + EMPTY_FOR_S:
        backlogs.note_queues(at_s, depth_of(0))
        depth, _ = leg(backlogs.note_messages(at_s, totals(10, 7)))
        assert depth == (3 if at_s < 107.0 else 0)  # while nothing is sent, the broker's count is the limit
        at_s += 1.0
    assert leg(backlogs.note_messages(at_s, totals(10, 7))) == (0, 0.0)
    backlogs.note_queues(at_s, depth_of(2))
    assert leg(backlogs.note_messages(at_s + 1, totals(12, 7))) == (2, at_s + 1)
    assert leg(backlogs.note_messages(at_s + 4, totals(12, 7))) == (2, at_s + 1)


def test_what_a_hanging_receiver_has_handled_unseen_waits_no_longer_than_the_broker_counts() -> None:
    backlogs = Backlogs(LEGS)
    backlogs.note_queues(100.0, depth_of(0))
    backlogs.note_messages(100.0, totals(10, 10))
    # Four are sent, and the receiver hangs after the third: nobody can ask it what it has handled.
    assert leg(backlogs.note_messages(101.0, totals(14, 10)))[0] == 4
    backlogs.note_queues(103.0, depth_of(0))  # statistics from before they were sent
    assert leg(backlogs.note_messages(103.0, totals(14, 10)))[0] == 4
    backlogs.note_queues(108.0, depth_of(1))
    assert leg(backlogs.note_messages(108.0, totals(14, 10))) == (1, 101.0)
    assert leg(backlogs.note_messages(109.0, totals(14, 13))) == (1, 101.0)
    assert leg(backlogs.note_messages(110.0, totals(14, 14))) == (0, 0.0)


def test_a_queue_that_is_never_empty_is_never_taken_for_empty() -> None:
    backlogs = Backlogs(LEGS)
    for step in range(60):
        backlogs.note_queues(100.0 + step, depth_of(3))
        found = leg(backlogs.note_messages(100.0 + step, totals(10, 7)))
    assert found == (3, 100.0)


def test_traffic_through_an_empty_queue_is_told_from_lost_counts() -> None:
    """Messages on their way make the difference vary; what a kill has lost stays in it."""
    backlogs = Backlogs(LEGS)
    for step in range(30):
        backlogs.note_queues(100.0 + step, depth_of(0))
        lost, on_its_way = 4, step % 2
        sent = 10 + step
        found = leg(backlogs.note_messages(100.0 + step, totals(sent, sent - lost - on_its_way)))
    assert found[0] == 1


def test_lost_counts_of_a_sender_hide_no_message_for_long() -> None:
    backlogs = Backlogs(LEGS)
    for step in range(15):
        backlogs.note_queues(100.0 + step, depth_of(0))
        assert leg(backlogs.note_messages(100.0 + step, totals(7, 10))) == (0, 0.0)
    assert leg(backlogs.note_messages(116.0, totals(8, 10))) == (1, 116.0)


def test_a_queue_that_nobody_has_looked_at_is_not_taken_for_empty() -> None:
    """The queues are not read while no page is open, and the statistics of the broker are old afterwards."""
    backlogs = Backlogs(LEGS)
    for step in range(15):
        backlogs.note_queues(100.0 + step, depth_of(0))
        backlogs.note_messages(100.0 + step, totals(7, 7))
    assert leg(backlogs.note_messages(500.0, totals(9, 7)))[0] == 2
    backlogs.note_queues(501.0, depth_of(0))  # the broker's statistics are old
    assert leg(backlogs.note_messages(501.0, totals(9, 7)))[0] == 2


def test_partitions_of_a_queue_are_one_queue() -> None:
    backlogs = Backlogs(LEGS)
    partitions = {f"{QUEUE}.{n}": QueueDepth(ready=int(n == 1), unacknowledged=0, consumers=1) for n in range(3)}
    for step in range(15):
        backlogs.note_queues(100.0 + step, partitions)
        found = leg(backlogs.note_messages(100.0 + step, totals(4, 3)))
    assert found == (1, 100.0)


def test_every_leg_over_the_broker_is_known_with_its_queue() -> None:
    legs = queue_legs()
    assert legs[LEG] == QueueLeg(LEG, LEG, QUEUE)
    assert legs["quote_fare/request_reply/reply"].queue == "booking.replies"
    assert legs["booking_ended/one_way/event/matching"].sent == "booking_ended/one_way/event"
    assert {key for key in legs if "sync_api" in key} == set()
    assert len({(each.queue, key) for key, each in legs.items()}) == len(legs)


def test_the_oldest_of_a_queue_is_that_of_all_its_legs() -> None:
    backlogs = Backlogs({**LEGS, "other": QueueLeg("other", "other", QUEUE)})
    found = {LEG: {"depth": 1, "since_s": 105.0}, "other": {"depth": 2, "since_s": 103.0}}
    assert backlogs.oldest_by_queue(found) == {QUEUE: 103.0}
