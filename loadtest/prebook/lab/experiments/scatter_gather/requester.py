"""Requester of drivers in the place of booking: sends requests to matching, and receives its answers."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Self

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from prebook.contracts.distance import ride_minutes
from prebook.contracts.matching import DriverMatched, DriverReply, FindDriver, NoDriverFound
from prebook.contracts.plan import Coupling
from prebook.coupling.request_reply import RequestReply
from prebook.flows import FIND_DRIVER, FLOWS
from prebook.lab.background import run_in_background
from prebook.lab.experiments.testbed import ExperimentTestbed
from prebook.lab.load.rides import RideSpec
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import decode
from prebook.messaging.envelope import Envelope, MessageKind, message_id
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.publisher import RabbitPublisher

SERVICE = FIND_DRIVER.caller
PLAN = dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY)
REQUEST_INTERVAL_S = 0.025
"""Pause between two requests, in which an idle machine handles one: a backlog would delay answers like a fleet."""


class DriverRequester:
    """Sends requests as booking's user of the broker. ``answers``: the answer to each booking's request so far."""

    def __init__(self, publisher: RabbitPublisher) -> None:
        self._channel = RequestReply(publisher)
        self.answers: dict[str, DriverReply] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, testbed: ExperimentTestbed) -> AsyncIterator[Self]:
        """Receive answers while the block runs."""
        publisher = RabbitPublisher(testbed.context.envs[SERVICE]["PREBOOK_AMQP_URL"], SERVICE)
        requester = cls(publisher)
        async with (
            run_in_background(publisher.connection.run()),
            await aio_pika.connect(testbed.stack.broker.amqp_url) as connection,
        ):
            await publisher.connection.up.wait()
            replies = await (await connection.channel()).get_queue(addresses.reply_queue(SERVICE), ensure=False)
            await replies.consume(requester.receive)
            yield requester

    async def request_drivers(self, rides: Iterable[tuple[str, RideSpec]]) -> None:
        """Request a driver for each booking, and return once the broker has all requests."""
        for booking_id, ride in rides:
            await self._channel.send(_request(booking_id, ride))
            await asyncio.sleep(REQUEST_INTERVAL_S)

    async def receive(self, message: AbstractIncomingMessage) -> None:
        """Keep the answer, and acknowledge it."""
        reply = decode(from_amqp(message))
        if isinstance(reply.body, DriverMatched | NoDriverFound):
            self.answers.setdefault(reply.conversation_id, reply.body)
        await message.ack()


def _request(booking_id: str, ride: RideSpec) -> Envelope:
    body = FindDriver(
        pickup=ride.pickup,
        pickup_at=ride.pickup_at,
        ride_minutes=ride_minutes(ride.pickup, ride.dropoff),
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
    )
    return Envelope(
        id=message_id(booking_id, FIND_DRIVER.name),
        kind=MessageKind.REQUEST,
        flow=FIND_DRIVER.name,
        body=body,
        source=SERVICE,
        conversation_id=booking_id,
        time=utc_now(),
        plan=PLAN,
        reply_to=SERVICE,
    )
