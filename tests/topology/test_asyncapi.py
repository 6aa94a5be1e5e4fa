"""AsyncAPI document: valid, complete, and in accordance with encoded messages."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import jsonschema

from prebook.contracts.plan import Coupling
from prebook.contracts.pricing import FareQuoted
from prebook.contracts.ride import Money
from prebook.flows import ALL_FLOWS, FLOWS
from prebook.messaging.body_codec import BODY_TYPES
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.topology.asyncapi import asyncapi_document
from prebook.topology.model import suite_topology

DOCUMENT: dict[str, Any] = json.loads(json.dumps(asyncapi_document(suite_topology({0.2}))))
SCHEMA = json.loads((Path(__file__).parent / "asyncapi" / "3.0.0.json").read_text())


def test_the_document_is_valid_asyncapi_3() -> None:
    assert not list(jsonschema.Draft7Validator(SCHEMA).iter_errors(DOCUMENT))


def test_the_validator_rejects_an_invalid_document() -> None:
    broken = json.loads(json.dumps(DOCUMENT))
    next(iter(broken["operations"].values()))["action"] = "shout"
    assert list(jsonschema.Draft7Validator(SCHEMA).iter_errors(broken))


def test_every_reference_resolves() -> None:
    for path in _references(DOCUMENT):
        assert reduce(lambda node, name: node[name], path.removeprefix("#/").split("/"), DOCUMENT)


def test_every_channel_has_messages_and_every_message_has_a_channel() -> None:
    message_names = [set(channel["messages"]) for channel in DOCUMENT["channels"].values()]
    assert all(message_names)
    assert set().union(*message_names) == BODY_TYPES.keys()


def test_a_command_names_its_reply_and_an_event_does_not() -> None:
    operations = DOCUMENT["operations"]
    send_request = operations["booking.send.requests.quote_fare"]
    assert send_request["reply"]["channel"] == {"$ref": "#/channels/replies.booking.quote_fare"}
    assert len(send_request["reply"]["messages"]) == len(FLOWS["quote_fare"].possible_reply_types)
    assert "reply" not in operations["booking.send.events.request.quote_fare"]


def test_an_encoded_message_matches_the_document() -> None:
    now = datetime.now(UTC)
    fare = FareQuoted(fare=Money(cents=1250), discount=Money(cents=0), valid_until=now + timedelta(minutes=5))
    message = encode(
        Envelope(
            id="b-1.quote_fare.reply",
            kind=MessageKind.REPLY,
            flow="quote_fare",
            body=fare,
            source="pricing",
            conversation_id="b-1",
            time=now,
            plan=dict.fromkeys((flow.name for flow in ALL_FLOWS), Coupling.ONE_WAY),
        )
    )
    schemas = DOCUMENT["components"]["schemas"]
    jsonschema.Draft202012Validator(schemas["Headers"]).validate(dict(message.headers))
    schema = {"$ref": "#/components/schemas/FareQuoted", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(json.loads(message.body))


def _references(node: Any) -> Iterator[str]:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        yield node["$ref"]
    for child in children:
        yield from _references(child)
