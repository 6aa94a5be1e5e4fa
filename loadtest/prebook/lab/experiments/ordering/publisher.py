"""What is said in a run: facts whose keys take turns, as fast as the broker takes them."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, OFFER_SETTLED
from prebook.lab.experiments.ordering.strategies import Arrangement, Load
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope, Kind, message_id
from prebook.rabbit.publisher import RabbitPublisher

PLAN = dict.fromkeys(FLOWS, Coupling.ONE_WAY)
AT_ONCE = 100


async def said(url: str, arrangement: Arrangement, load: Load, run: str) -> float:
    """All of it, in order. When it began, in Unix seconds."""
    publisher, began = RabbitPublisher(url, "lab"), datetime.now(UTC).timestamp()
    link = asyncio.create_task(publisher.link.run())
    try:
        await publisher.link.up.wait()
        messages = list(_messages(arrangement, load, run))
        for start in range(0, len(messages), AT_ONCE):
            await asyncio.gather(*(_publish(publisher, arrangement, one) for one in messages[start:][:AT_ONCE]))
    finally:
        link.cancel()
        await asyncio.wait({link})
    return began


async def _publish(publisher: RabbitPublisher, arrangement: Arrangement, message: Envelope) -> None:
    await publisher.publish(addresses.REDELIVER, arrangement.inbound.address, encode(message))


def _messages(arrangement: Arrangement, load: Load, run: str) -> Iterable[Envelope]:
    for key, place in load.plan():
        told = OfferSettled(booking_id=key, fleet="lab", driver=str(place), verdict=OfferVerdict.ACCEPTED)
        yield Envelope(
            id=message_id(f"{run}.{key}", OFFER_SETTLED.name, str(place)),
            kind=Kind.FACT,
            flow=OFFER_SETTLED.name,
            body=told,
            source=OFFER_SETTLED.publisher,
            conversation=arrangement.group_key(key),
            time=datetime.now(UTC),
            plan=PLAN,
        )
