"""Messages that no client library can decode, on a real broker: each is settled once and delays no other message."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from prebook.flows import BOOKING_CONFIRMED, OPERATIONS
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.headers import CAUSE_HEADER, MESSAGE_ID_HEADER, UNDECODABLE_HEADER
from tests.conditions import poll_until, wait_until
from tests.integration.broker_probe import BrokerProbe, CapturedMessage
from tests.integration.metrics import read_counter
from tests.integration.suite import Suite
from tests.integration.synthetic_events import booking_ended_event
from tests.rabbit.raw_amqp import ClosedByBrokerError, RawConnection, text_table
from tests.rabbit.undecodable_messages import UNDECODABLE_MESSAGES
from tests.traps.trap_queue import RecordingHandler, TrapQueue, unique_request

pytestmark = pytest.mark.real


def publish_undecodable(url: str, exchange: str, key: str) -> dict[str, str]:
    """Publish a message for each undecodable field, and return the names of the fields by message id.

    The versions of the broker differ in what they accept; what this one refuses is left out.
    """
    fields = {}
    refused = []
    for name, (field, build) in UNDECODABLE_MESSAGES.items():
        wire = encode(unique_request("odd"))
        with RawConnection(url) as connection:
            try:
                connection.publish(exchange, key, wire.body, build(wire.headers))
                fields[wire.headers[MESSAGE_ID_HEADER]] = field
            except ClosedByBrokerError as error:
                refused.append(f"{name}: {error}")
    assert len(fields) > len(refused), refused
    return fields


def publish_with_undecodable_key(url: str) -> None:
    """Publish a dead letter under the name of a queue that is not UTF-8."""
    wire = booking_ended_event(f"bk_key{uuid4().hex[:8]}", prebook_x_cause="bad_json")
    with RawConnection(url) as connection:
        connection.publish(addresses.PARKING, b"queue.\xff\xfe", wire.body, {"headers": text_table(wire.headers)})


def lost_connections(logs: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    return [each for each in logs if each["event"] in {"broker connection lost", "broker connection failed"}]


def assert_described(parked: Sequence[CapturedMessage], fields: Mapping[str, str]) -> None:
    """Each dead letter says why, and describes its own field."""
    by_id = {each.headers[MESSAGE_ID_HEADER]: each for each in parked}
    assert by_id.keys() == fields.keys()
    for message_id, field in fields.items():
        assert f"{field} (" in by_id[message_id].headers[UNDECODABLE_HEADER]


async def test_an_undecodable_message_is_dead_lettered_once_and_delays_no_other(
    trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    """The client library drops the connection at such a message, each time that it is delivered."""
    handler = RecordingHandler()
    first, last = unique_request("first"), unique_request("last")
    with capture_logs() as logs:
        async with trap_queue.run_consumers(handler, prefetch=10):
            await trap_queue.send(broker, first)
            fields = await asyncio.to_thread(
                publish_undecodable, trap_queue.url, addresses.REDELIVER, trap_queue.queue.name
            )
            await trap_queue.send(broker, last)
            await wait_until(lambda: len(handler.attempts) >= 2, timeout_s=30)
            parked = await broker.collect_parked(len(fields))
    assert handler.attempts == [(first.id, 1), (last.id, 1)]
    assert not lost_connections(logs)
    assert_described(parked, fields)
    assert {each.headers[CAUSE_HEADER] for each in parked} == {"undecodable"}


async def test_operations_records_undecodable_dead_letters_and_those_behind_them(
    suite: Suite, broker: BrokerProbe
) -> None:
    """The intake connected again without an end, and took nothing that was behind the message."""
    queue = "pricing.events"
    fields = await asyncio.to_thread(publish_undecodable, suite.state.amqp_url, addresses.PARKING, queue)
    await asyncio.to_thread(publish_with_undecodable_key, suite.state.amqp_url)
    behind = booking_ended_event(f"bk_behind{uuid4().hex[:8]}", prebook_x_cause="wrong_schema")
    await broker.send(addresses.PARKING, queue, behind)

    expected = {"undecodable": len(fields), "wrong_schema": 1, "bad_json": 1}

    async def are_counted() -> bool:
        counts = {name: await read_counter(suite, "prebook_dead_letters", OPERATIONS, cause=name) for name in expected}
        return counts == expected

    await poll_until(are_counted, timeout_s=60, interval_s=0.3)
    listed = json.loads((await asyncio.to_thread(suite.prebook, "parking", "list", "--json")).stdout)
    parked = await broker.collect_parked(len(fields) + 2)
    causes = Counter(each["cause"] for each in listed["dead_letters"])
    assert causes == expected
    assert "queue.\\xff\\xfe" in {each["queue"] for each in listed["dead_letters"]}
    assert_described([each for each in parked if UNDECODABLE_HEADER in each.headers], fields)


async def test_the_archive_is_read_past_undecodable_messages(suite: Suite) -> None:
    """Each one ended `prebook archive status` and every replay for as long as the stream kept it.

    The stream drops tables and arrays from the headers in some versions of the broker, so those arrive decodable.
    """
    key = addresses.event_routing_key(BOOKING_CONFIRMED.name)
    fields = await asyncio.to_thread(publish_undecodable, suite.state.amqp_url, addresses.EVENTS, key)
    status = await asyncio.to_thread(suite.prebook, "archive", "status", "--json")
    assert status.returncode == 0, status.stderr
    bookings = [option for each in fields for option in ("--booking", each.partition(".")[0])]
    replay = await asyncio.to_thread(suite.prebook, "archive", "replay", *bookings, "--to-queue", "none", "--json")
    report = json.loads(replay.stdout)
    assert report["messages"] == len(fields), replay.stderr
    assert all(each["reason"].startswith("undecodable: ") for each in report["unsent"])
    undecodable = sum(each["messages"] for each in report["unsent"])
    assert 0 < undecodable <= json.loads(status.stdout)["undecodable"]
