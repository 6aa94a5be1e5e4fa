"""Metrics of messages."""

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from prebook.coupling.ports import Publisher
from prebook.messaging.codec import WireMessage, decode
from prebook.messaging.errors import Malformed
from prebook.messaging.headers import FLOW_HEADER, KIND_HEADER, MESSAGE_ID_HEADER, TYPE_HEADER
from prebook.rabbit.dead_letter_publisher import DeadLetterPublisher
from prebook.runtime.telemetry import Telemetry

MESSAGES = 2000


class DiscardingPublisher(Publisher):
    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: object = None
    ) -> None:
        del exchange, routing_key, message, expires_at


async def park_undecodable(publisher: DeadLetterPublisher, wire: WireMessage) -> None:
    try:
        decode(wire)
    except Malformed as error:
        await publisher.dead_letter("pricing.requests.quote_fare", wire, error.cause, error)


async def test_headers_of_strangers_add_no_series() -> None:
    registry = CollectorRegistry()
    publisher = DeadLetterPublisher(DiscardingPublisher(), Telemetry(registry))
    with capture_logs():
        for number in range(MESSAGES):
            headers = {
                FLOW_HEADER: f"flow{number}",
                TYPE_HEADER: f"type{number}",
                KIND_HEADER: "request",
                MESSAGE_ID_HEADER: f"id{number}",
                "prebook-x-cause": f"cause{number}",
            }
            await park_undecodable(publisher, WireMessage(headers, b"{}"))
        await park_undecodable(publisher, WireMessage({FLOW_HEADER: "quote_fare"}, b"{}"))
        await park_undecodable(publisher, WireMessage({FLOW_HEADER: "booking_ended"}, b"{}"))
    (family,) = [each for each in registry.collect() if each.name == "prebook_messages_dead_lettered"]
    counts = {
        (sample.labels["flow"], sample.labels["cause"]): sample.value
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    assert counts == {
        ("unknown", "unknown_type"): MESSAGES,
        ("quote_fare", "missing_header"): 1,
        ("booking_ended", "missing_header"): 1,
    }
