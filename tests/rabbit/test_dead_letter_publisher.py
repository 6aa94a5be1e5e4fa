"""Dead letters: what is published, and what the log says of it."""

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from prebook.coupling.ports import Publisher
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, encode
from prebook.messaging.errors import Malformed
from prebook.messaging.headers import CAUSE_HEADER
from prebook.rabbit.dead_letter_publisher import DeadLetterPublisher
from prebook.runtime.telemetry import Telemetry
from tests.messaging.examples import request


class RecordingPublisher(Publisher):
    def __init__(self) -> None:
        self.published: list[tuple[str, str, WireMessage]] = []

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: object = None
    ) -> None:
        del expires_at
        self.published.append((exchange, routing_key, message))


async def test_a_dead_letter_is_parked_with_its_cause_and_logged_with_its_message_id() -> None:
    publisher = RecordingPublisher()
    envelope = request()
    with capture_logs() as logs:
        await DeadLetterPublisher(publisher, Telemetry(CollectorRegistry())).dead_letter(
            "pricing.requests.quote_fare", encode(envelope), "attempts_exhausted", None
        )
    ((exchange, address, parked),) = publisher.published
    assert (exchange, address) == (addresses.PARKING, "pricing.requests.quote_fare")
    assert parked.headers[CAUSE_HEADER] == "attempts_exhausted"
    (event,) = [each for each in logs if each["event"] == "message dead-lettered"]
    assert (event["message_id"], event["flow"]) == (envelope.id, envelope.flow)
    assert event["cause"] == "attempts_exhausted"


async def test_a_malformed_message_without_id_is_parked_all_the_same() -> None:
    publisher = RecordingPublisher()
    with capture_logs() as logs:
        await DeadLetterPublisher(publisher, Telemetry(CollectorRegistry())).dead_letter(
            "pricing.requests.quote_fare", WireMessage({}, b"?"), "malformed", Malformed("bad_header", "no id")
        )
    assert len(publisher.published) == 1
    assert [(each["message_id"], each["flow"]) for each in logs] == [("", "unknown")]
