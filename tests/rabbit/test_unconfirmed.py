"""Matching of confirms, nacks and returned messages with unconfirmed ones."""

import asyncio

import pytest

from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.rabbit.amqp_publisher.frame_decoder import PublisherConfirm, ReturnedMessage
from prebook.rabbit.amqp_publisher.unconfirmed import PendingConfirm, UnconfirmedMessages


def pending(key: str = "bound", message_id: str = "m", due: float = 10.0) -> PendingConfirm:
    return PendingConfirm("exchange", key, message_id, due, asyncio.get_running_loop().create_future())


def add_all(unconfirmed: UnconfirmedMessages, *messages: PendingConfirm) -> tuple[PendingConfirm, ...]:
    for message in messages:
        unconfirmed.add(message)
    return messages


async def test_a_multiple_confirm_settles_all_tags_up_to_its_own() -> None:
    unconfirmed = UnconfirmedMessages()
    one, two, three = add_all(unconfirmed, pending(), pending(), pending())
    unconfirmed.settle(PublisherConfirm(2, multiple=True, accepted=True))
    assert one.future.done()
    assert two.future.done()
    assert not three.future.done()
    unconfirmed.settle(PublisherConfirm(3, multiple=False, accepted=False))
    with pytest.raises(Unreachable, match="full"):
        three.future.result()
    assert len(unconfirmed) == 0


async def test_returned_messages_of_one_id_are_matched_by_address() -> None:
    """aiormq matches by message id alone, and reports some of these wrongly as confirmed or returned."""
    unconfirmed = UnconfirmedMessages()
    messages = add_all(unconfirmed, pending("bound"), pending("unbound"), pending("bound"), pending("unbound"))
    for _ in range(2):
        unconfirmed.mark_returned(ReturnedMessage("exchange", "unbound", "m", "NO_ROUTE"))
    unconfirmed.settle(PublisherConfirm(4, multiple=True, accepted=True))
    assert [type(each.future.exception()) for each in messages] == [type(None), Undeliverable] * 2


async def test_an_overdue_message_fails_and_its_later_confirm_is_ignored() -> None:
    unconfirmed = UnconfirmedMessages()
    overdue, pending_later = add_all(unconfirmed, pending(due=1.0), pending(due=5.0))
    unconfirmed.fail_overdue(2.0)
    with pytest.raises(Unreachable):
        overdue.future.result()
    unconfirmed.settle(PublisherConfirm(2, multiple=True, accepted=True))
    assert pending_later.future.result() is None


async def test_a_lost_connection_fails_all_messages_and_skips_cancelled_ones() -> None:
    unconfirmed = UnconfirmedMessages()
    cancelled, waiting = add_all(unconfirmed, pending(), pending())
    cancelled.future.cancel()
    unconfirmed.fail_all("cut")
    with pytest.raises(Unreachable, match="cut"):
        waiting.future.result()
