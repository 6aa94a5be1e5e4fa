"""The messages of a run: events whose keys take turns, published as fast as the broker confirms them."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, OFFER_SETTLED
from prebook.lab.background import run_in_background
from prebook.lab.experiments.ordering.strategies import OrderingLoad, OrderingStrategy
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope, MessageKind, message_id
from prebook.rabbit.publisher import RabbitPublisher

PLAN = dict.fromkeys(FLOWS, Coupling.ONE_WAY)
PUBLISH_BATCH_SIZE = 100


async def publish_load(amqp_url: str, strategy: OrderingStrategy, load: OrderingLoad, run: str) -> float:
    """All of it, in order. When it began, in Unix seconds."""
    publisher = RabbitPublisher(amqp_url, "lab")
    started_at = datetime.now(UTC).timestamp()
    async with run_in_background(publisher.connection.run()):
        await publisher.connection.up.wait()
        messages = list(_messages(strategy, load, run))
        for start in range(0, len(messages), PUBLISH_BATCH_SIZE):
            await asyncio.gather(*(_publish(publisher, strategy, one) for one in messages[start:][:PUBLISH_BATCH_SIZE]))
    return started_at


async def _publish(publisher: RabbitPublisher, strategy: OrderingStrategy, message: Envelope) -> None:
    await publisher.publish(addresses.REDELIVER, strategy.inbound.address, encode(message))


def _messages(strategy: OrderingStrategy, load: OrderingLoad, run: str) -> Iterable[Envelope]:
    for key, position in load.message_sequence():
        told = OfferSettled(booking_id=key, fleet="lab", driver=str(position), verdict=OfferVerdict.ACCEPTED)
        yield Envelope(
            id=message_id(f"{run}.{key}", OFFER_SETTLED.name, str(position)),
            kind=MessageKind.EVENT,
            flow=OFFER_SETTLED.name,
            body=told,
            source=OFFER_SETTLED.publisher,
            conversation_id=strategy.ordering_key(key),
            time=datetime.now(UTC),
            plan=PLAN,
        )
