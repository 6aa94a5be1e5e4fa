"""Which publish a confirm, a nack or a returned message is about."""

import asyncio

import pytest

from prebook.messaging.channel import Undeliverable, Unreachable
from prebook.rabbit.amqp_publisher.frame_decoder import Confirmed, Returned
from prebook.rabbit.amqp_publisher.unconfirmed import Pending, Unconfirmed


def pending(key: str = "here", message_id: str = "m", due: float = 10.0) -> Pending:
    return Pending("exchange", key, message_id, due, asyncio.get_running_loop().create_future())


def added(unconfirmed: Unconfirmed, *all_of: Pending) -> tuple[Pending, ...]:
    for each in all_of:
        unconfirmed.add(each)
    return all_of


async def test_a_confirm_of_many_settles_all_up_to_it_and_none_after() -> None:
    unconfirmed = Unconfirmed()
    one, two, three = added(unconfirmed, pending(), pending(), pending())
    unconfirmed.settle(Confirmed(2, multiple=True, accepted=True))
    assert one.future.done()
    assert two.future.done()
    assert not three.future.done()
    unconfirmed.settle(Confirmed(3, multiple=False, accepted=False))
    with pytest.raises(Unreachable, match="full"):
        three.future.result()
    assert len(unconfirmed) == 0


async def test_one_id_under_way_to_four_places_is_told_apart() -> None:
    """The client library answers the first and third of these as confirmed or returned, as it happens."""
    unconfirmed = Unconfirmed()
    all_of = added(unconfirmed, pending("here"), pending("nowhere"), pending("here"), pending("nowhere"))
    for _ in range(2):
        unconfirmed.note(Returned("exchange", "nowhere", "m", "NO_ROUTE"))
    unconfirmed.settle(Confirmed(4, multiple=True, accepted=True))
    assert [type(each.future.exception()) for each in all_of] == [type(None), Undeliverable] * 2


async def test_what_is_confirmed_too_late_has_failed_and_its_confirm_is_nobodys() -> None:
    unconfirmed = Unconfirmed()
    late, later = added(unconfirmed, pending(due=1.0), pending(due=5.0))
    unconfirmed.overdue(2.0)
    with pytest.raises(Unreachable):
        late.future.result()
    unconfirmed.settle(Confirmed(2, multiple=True, accepted=True))
    assert later.future.result() is None


async def test_a_lost_connection_fails_all_but_those_whose_caller_has_gone() -> None:
    unconfirmed = Unconfirmed()
    gone, waits = added(unconfirmed, pending(), pending())
    gone.future.cancel()
    unconfirmed.lose("cut")
    with pytest.raises(Unreachable, match="cut"):
        waits.future.result()
