"""All messages of a flow in MessagePack, in every coupling."""

import pytest

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from prebook.flows import EVENT_TYPES, FLOWS
from prebook.messaging.addresses import PARKING_QUEUE
from prebook.messaging.body_codec import MSGPACK
from prebook.messaging.codec import decode
from tests.conditions import wait_until
from tests.coupling.test_poison import POLICY, Defect, raises, replay_parked, wait_until_parked
from tests.world import SuiteWorld

FORMATS = tuple(f"{name}=msgpack" for name in (*FLOWS, *(event.name for event in EVENT_TYPES)))
every_coupling = pytest.mark.parametrize("coupling", Coupling)


@every_coupling
async def test_rides_are_confirmed_and_nothing_is_parked(coupling: Coupling) -> None:
    async with SuiteWorld(message_formats=FORMATS) as world:
        booking = await world.book(dict.fromkeys(FLOWS, coupling))
        ride = await world.wait_until_settled(booking)
        received = [each for database in world.databases.values() for each in database.tables.inbox.values()]

    assert ride.state is BookingState.CONFIRMED
    assert not world.broker.queues[PARKING_QUEUE]
    formats = {each.encoded_body.content_type for each in received if each.encoded_body}
    assert formats == {MSGPACK}


@every_coupling
async def test_only_the_messages_of_one_flow_are_in_its_format(coupling: Coupling) -> None:
    async with SuiteWorld(message_formats=("quote_fare=msgpack",)) as world:
        booking = await world.book(dict.fromkeys(FLOWS, coupling))
        ride = await world.wait_until_settled(booking)
        received = [each for database in world.databases.values() for each in database.tables.inbox.values()]

    assert ride.state is BookingState.CONFIRMED
    packed = {e.flow for e in received if e.encoded_body and e.encoded_body.content_type == MSGPACK}
    assert packed == {"quote_fare"}


@every_coupling
async def test_a_request_that_always_fails_is_parked_and_replayed_in_its_format(coupling: Coupling) -> None:
    async with SuiteWorld(policy=POLICY, message_formats=("quote_fare=msgpack",)) as world:
        world.databases["pricing"].tables.state.grant_discount = raises(Defect("no fare"))
        await world.post_booking(dict.fromkeys(FLOWS, coupling))
        (parked,) = await wait_until_parked(world, 1)
        del world.databases["pricing"].tables.state.grant_discount
        failed = decode(parked)
        await replay_parked(world)
        await wait_until(lambda: failed.id in world.databases["pricing"].tables.inbox)
        replayed = world.databases["pricing"].tables.inbox[failed.id]

    assert parked.headers["content-type"] == MSGPACK
    assert replayed.encoded_body == failed.encoded_body
