"""What is said in a run: facts whose keys take turns, as fast as the broker takes them."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, OFFER_SETTLED
from prebook.lab.experiments.ordering.strategies import OrderingLoad, OrderingStrategy
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope, MessageKind, message_id
from prebook.rabbit.publisher import RabbitPublisher

PLAN = dict.fromkeys(FLOWS, Coupling.ONE_WAY)
PUBLISH_BATCH_SIZE = 100


async def publish_load(amqp_url: str, strategy: OrderingStrategy, load: OrderingLoad, run: str) -> float:
    """All of it, in order. When it began, in Unix seconds."""
    publisher, began = RabbitPublisher(amqp_url, "lab"), datetime.now(UTC).timestamp()
    link = asyncio.create_task(publisher.connection.run())
    try:
        await publisher.connection.up.wait()
        messages = list(_messages(strategy, load, run))
        for start in range(0, len(messages), PUBLISH_BATCH_SIZE):
            await asyncio.gather(*(_publish(publisher, strategy, one) for one in messages[start:][:PUBLISH_BATCH_SIZE]))
    finally:
        link.cancel()
        await asyncio.wait({link})
    return began


async def _publish(publisher: RabbitPublisher, strategy: OrderingStrategy, message: Envelope) -> None:
    await publisher.publish(addresses.REDELIVER, strategy.inbound.address, encode(message))


def _messages(strategy: OrderingStrategy, load: OrderingLoad, run: str) -> Iterable[Envelope]:
    for key, place in load.message_sequence():
        told = OfferSettled(booking_id=key, fleet="lab", driver=str(place), verdict=OfferVerdict.ACCEPTED)
        yield Envelope(
            id=message_id(f"{run}.{key}", OFFER_SETTLED.name, str(place)),
            kind=MessageKind.EVENT,
            flow=OFFER_SETTLED.name,
            body=told,
            source=OFFER_SETTLED.publisher,
            conversation_id=strategy.ordering_key(key),
            time=datetime.now(UTC),
            plan=PLAN,
        )
