"""Publisher of the ordering experiment: events of all keys in turn, as fast as the broker confirms them."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from prebook.flows import OFFER_SETTLED
from prebook.lab.background import run_in_background
from prebook.lab.experiments.events import offer_settled, offer_settled_envelope
from prebook.lab.experiments.ordering.strategies import OrderingLoad, OrderingStrategy
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope, message_id
from prebook.rabbit.publisher import RabbitPublisher

PUBLISH_BATCH_SIZE = 100


async def publish_load(amqp_url: str, strategy: OrderingStrategy, load: OrderingLoad, run: str) -> float:
    """Publish the whole load in order; return the start time in Unix seconds."""
    publisher = RabbitPublisher(amqp_url, "lab")
    started_at = datetime.now(UTC).timestamp()
    async with run_in_background(publisher.connection.run()):
        await publisher.connection.up.wait()
        messages = list(_messages(strategy, load, run))
        for start in range(0, len(messages), PUBLISH_BATCH_SIZE):
            await asyncio.gather(
                *(_publish(publisher, strategy, message) for message in messages[start:][:PUBLISH_BATCH_SIZE])
            )
    return started_at


async def _publish(publisher: RabbitPublisher, strategy: OrderingStrategy, message: Envelope) -> None:
    await publisher.publish(addresses.REDELIVER, strategy.inbound.address, encode(message))


def _messages(strategy: OrderingStrategy, load: OrderingLoad, run: str) -> Iterable[Envelope]:
    for key, position in load.message_sequence():
        conversation_id = strategy.ordering_key(key)
        yield offer_settled_envelope(
            message_id(conversation_id, OFFER_SETTLED.name, f"{run}.{key}.{position}"),
            offer_settled(key, driver=str(position)),
            conversation_id=conversation_id,
        )
