"""Dead letters that the publisher or the broker would refuse, on a real broker: each is parked at its first attempt."""

import asyncio
import struct
from collections.abc import Mapping, Sequence

import pytest
from structlog.testing import capture_logs

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, encode
from prebook.messaging.headers import (
    CAUSE_HEADER,
    ERROR_HEADER,
    EXTENSION_PREFIX,
    MESSAGE_ID_HEADER,
    OMITTED_HEADER,
    TYPE_HEADER,
)
from prebook.messaging.observer import NullObserver
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher
from prebook.testing.configuration import make_policies
from prebook.topology.sender_check import accept_any_sender
from tests.conditions import wait_until
from tests.integration.broker_probe import BrokerProbe
from tests.rabbit.raw_amqp import FRAME_MAX, RawConnection, array, content_header, frame, text, text_table
from tests.traps.test_undecodable_messages import lost_connections
from tests.traps.trap_queue import RecordingHandler, TrapQueue, run_connection, unique_request

pytestmark = pytest.mark.real
BAD_JSON = b"{"
ROOM_FOR_OTHER_HEADERS = 1_200


def unpublishable_headers(headers: Mapping[str, str]) -> dict[str, tuple[str, bytes]]:
    """Return (cause, encoded headers) of messages by name; those with BAD_JSON as their body are malformed."""
    pad = "p" * (FRAME_MAX - ROOM_FOR_OTHER_HEADERS)
    return {
        "type of 300 bytes": ("unknown_type", text_table({**headers, TYPE_HEADER: "x" * 300})),
        "id of 4000 bytes": ("bad_json", text_table({**headers, MESSAGE_ID_HEADER: "i" * 4000})),
        "headers near the frame limit": ("bad_json", text_table(headers, ("pad", text(pad)))),
        "own header near the frame limit": ("bad_json", text_table(headers, (EXTENSION_PREFIX + "pad", text(pad)))),
        "20,000 headers": ("bad_json", text_table(headers, *((f"{n:x}", b"V") for n in range(20_000)))),
        "CC": ("bad_json", text_table(headers, ("CC", array(text("nowhere"))))),
        "BCC": ("bad_json", text_table(headers, ("BCC", array(text("nowhere"))))),
        "x-death that is a text": ("bad_json", text_table(headers, ("x-death", text("never")))),
        "x-delivery-count": ("bad_json", text_table(headers, ("x-delivery-count", b"l" + struct.pack(">q", 99)))),
        "x-match": ("bad_json", text_table(headers, ("x-match", text("all")))),
    }


def publish_all(url: str, exchange: str, key: str) -> dict[str, str]:
    """Publish the messages and return their causes by conversation id."""
    causes = {}
    for name in unpublishable_headers({}):
        wire = encode(unique_request("refused"))
        cause, table = unpublishable_headers(wire.headers)[name]
        with RawConnection(url) as connection:
            connection.publish(exchange, key, BAD_JSON, {"headers": table})
        causes[wire.headers["ce-subject"]] = cause
    return causes


async def test_a_dead_letter_that_cannot_be_published_as_it_is_is_parked_at_once(
    trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    """Each one was requeued 20 times, cost the publisher its connection each time, and lost its cause."""
    with capture_logs() as logs:
        async with trap_queue.run_consumers(RecordingHandler(), prefetch=10):
            causes = await asyncio.to_thread(publish_all, trap_queue.url, addresses.REDELIVER, trap_queue.queue.name)
            parked = await broker.collect_parked(len(causes), timeout_s=60)
    assert {each.conversation_id: each.headers[CAUSE_HEADER] for each in parked} == causes
    assert not lost_connections(logs)
    assert not [each for each in logs if "not published" in each["event"] or "refused" in each["event"]]
    omitted = [each.headers[OMITTED_HEADER] for each in parked if OMITTED_HEADER in each.headers]
    assert "CC: ['nowhere'] (for the broker)" in omitted


async def test_a_message_whose_retry_exceeds_the_frame_is_parked_with_that_cause(
    trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    message = unique_request("large")
    headers = encode(message).headers
    pad = EXTENSION_PREFIX + "pad"
    left = FRAME_MAX - len(frame(2, 1, content_header(b"", {"headers": text_table(headers, (pad, text("")))})))
    table = text_table(headers, (pad, text("p" * left)))
    handler = RecordingHandler(frozenset({message.id}))
    with capture_logs() as logs:
        async with trap_queue.run_consumers(handler):
            with RawConnection(trap_queue.url) as connection:
                connection.publish(addresses.REDELIVER, trap_queue.queue.name, encode(message).body, {"headers": table})
            (parked,) = await broker.collect_parked(1)
    assert parked.headers[CAUSE_HEADER] == "retry_refused"
    assert parked.headers[MESSAGE_ID_HEADER] == message.id
    assert handler.attempts == [(message.id, 1)]
    assert not lost_connections(logs)


async def test_a_retry_onto_a_missing_delay_queue_is_parked_with_that_cause(
    trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    """The policies name a delay that the topology has not: it was requeued until the broker parked it."""
    failing, other = unique_request("failing"), unique_request("other")
    handler = RecordingHandler(frozenset({failing.id}))
    with capture_logs() as logs:
        async with trap_queue.run_consumers(handler, delay_s=0.123, prefetch=5):
            await trap_queue.send(broker, failing)
            await wait_until(lambda: len(handler.attempts) == 1, 10)
            await trap_queue.send(broker, other)
            (parked,) = await broker.collect_parked(1, timeout_s=60)
    assert parked.headers[CAUSE_HEADER] == "retry_refused"
    error = parked.headers[ERROR_HEADER]
    assert "ValueError: this message always fails" in error
    assert "404 NOT_FOUND - no exchange 'prebook.delay." in error
    assert handler.attempts == [(failing.id, 1), (other.id, 1)]
    assert not lost_connections(logs)


async def test_a_dead_letter_waits_unacknowledged_until_the_broker_takes_it(
    trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    """A requeue counts against the delivery limit, and a message that reaches it loses its cause."""
    publisher = RabbitPublisher(trap_queue.url, "traps")
    consumer = RabbitConsumer(
        trap_queue.url,
        "traps",
        {trap_queue.queue.name: 1},
        RecordingHandler(),
        publisher=publisher,
        policies=make_policies(),
        observer=NullObserver(),
        check_sender=accept_any_sender,
    )
    wire = encode(unique_request("waiting"))
    with capture_logs() as logs:
        async with run_connection(consumer.connection.run, consumer.connection.up):
            await trap_queue.send_wire(broker, WireMessage(wire.headers, BAD_JSON))
            await wait_until(lambda: len(_unpublished(logs)) >= 3, 30)
            async with run_connection(publisher.connection.run, publisher.connection.up):
                (parked,) = await broker.collect_parked(1)
    assert parked.headers[CAUSE_HEADER] == "bad_json"
    assert not [each for each in logs if "requeued" in each["event"]]


def _unpublished(logs: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    return [each for each in logs if each["event"] == "retry or dead letter not published"]
