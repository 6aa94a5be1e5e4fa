"""Publisher that records hops: the copy that it publishes has one hop more, the stored message has none."""

from datetime import datetime

from prebook.coupling.history_publisher import HistoryPublisher
from prebook.coupling.ports import Publisher
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.headers import HISTORY_HEADER
from prebook.replay.redelivery import marked_as_replay
from tests.messaging.examples import request


class RecordingPublisher(Publisher):
    def __init__(self) -> None:
        self.published: list[WireMessage] = []

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        self.published.append(message)


async def test_every_publication_adds_a_hop_which_retries_dead_letters_and_replays_keep() -> None:
    broker = RecordingPublisher()
    booking, pricing, operations = (HistoryPublisher(broker, name) for name in ("booking", "pricing", "operations"))
    await booking.publish(addresses.REQUESTS, "quote_fare", encode(request()))
    retry = decode(broker.published[-1]).next_attempt()
    await pricing.publish(addresses.delay_queue(0.2), "pricing.requests.quote_fare", encode(retry))
    await pricing.publish(addresses.PARKING, "pricing.requests.quote_fare", broker.published[-1])
    await operations.publish(addresses.REQUESTS, "quote_fare", marked_as_replay(broker.published[-1], "r1"))
    hops = (
        "booking>requests",
        "pricing>delay.200",
        "pricing>parking",
        "operations>requests",
    )
    recorded = [wire.headers[HISTORY_HEADER] for wire in broker.published]
    assert recorded == [";".join(hops[:number]) for number in range(1, 5)]


async def test_a_repeated_publication_of_a_stored_message_has_the_same_history() -> None:
    broker = RecordingPublisher()
    relay = HistoryPublisher(broker, "booking")
    stored = encode(request())
    for _ in range(2):
        await relay.publish(addresses.REQUESTS, "quote_fare", stored)
    assert [wire.headers[HISTORY_HEADER] for wire in broker.published] == ["booking>requests"] * 2
    assert HISTORY_HEADER not in stored.headers


async def test_a_reply_begins_a_history_of_its_own() -> None:
    broker = RecordingPublisher()
    await HistoryPublisher(broker, "booking").publish(addresses.REQUESTS, "quote_fare", encode(request()))
    received = decode(broker.published[-1])
    reply = received.reply_with(received.body, source="pricing", at=received.time)
    assert HISTORY_HEADER not in encode(reply).headers
