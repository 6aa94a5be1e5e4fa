"""Which publish a confirm, a nack or a returned message is about."""

import asyncio

import pytest

from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.rabbit.amqp_publisher.frame_decoder import PublisherConfirm, ReturnedMessage
from prebook.rabbit.amqp_publisher.unconfirmed import PendingConfirm, UnconfirmedMessages


def pending(key: str = "here", message_id: str = "m", due: float = 10.0) -> PendingConfirm:
    return PendingConfirm("exchange", key, message_id, due, asyncio.get_running_loop().create_future())


def added(unconfirmed: UnconfirmedMessages, *all_of: PendingConfirm) -> tuple[PendingConfirm, ...]:
    for each in all_of:
        unconfirmed.add(each)
    return all_of


async def test_a_confirm_of_many_settles_all_up_to_it_and_none_after() -> None:
    unconfirmed = UnconfirmedMessages()
    one, two, three = added(unconfirmed, pending(), pending(), pending())
    unconfirmed.settle(PublisherConfirm(2, multiple=True, accepted=True))
    assert one.future.done()
    assert two.future.done()
    assert not three.future.done()
    unconfirmed.settle(PublisherConfirm(3, multiple=False, accepted=False))
    with pytest.raises(Unreachable, match="full"):
        three.future.result()
    assert len(unconfirmed) == 0


async def test_one_id_under_way_to_four_places_is_told_apart() -> None:
    """The client library answers the first and third of these as confirmed or returned, as it happens."""
    unconfirmed = UnconfirmedMessages()
    all_of = added(unconfirmed, pending("here"), pending("nowhere"), pending("here"), pending("nowhere"))
    for _ in range(2):
        unconfirmed.mark_returned(ReturnedMessage("exchange", "nowhere", "m", "NO_ROUTE"))
    unconfirmed.settle(PublisherConfirm(4, multiple=True, accepted=True))
    assert [type(each.future.exception()) for each in all_of] == [type(None), Undeliverable] * 2


async def test_what_is_confirmed_too_late_has_failed_and_its_confirm_is_nobodys() -> None:
    unconfirmed = UnconfirmedMessages()
    late, later = added(unconfirmed, pending(due=1.0), pending(due=5.0))
    unconfirmed.fail_overdue(2.0)
    with pytest.raises(Unreachable):
        late.future.result()
    unconfirmed.settle(PublisherConfirm(2, multiple=True, accepted=True))
    assert later.future.result() is None


async def test_a_lost_connection_fails_all_but_those_whose_caller_has_gone() -> None:
    unconfirmed = UnconfirmedMessages()
    gone, waits = added(unconfirmed, pending(), pending())
    gone.future.cancel()
    unconfirmed.fail_all("cut")
    with pytest.raises(Unreachable, match="cut"):
        waits.future.result()
