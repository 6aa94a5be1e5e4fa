"""Fuzzer of messages: valid bodies of every type, and every defect."""

import random

import msgspec
import pytest

from prebook.messaging.body_codec import BODY_TYPES
from prebook.topology.model import suite_topology
from tests.rabbit.example_bodies import example_of
from tests.rabbit.message_fuzzer import DEFECTS, MessageFuzzer, is_expired_request
from tests.rabbit.raw_amqp import text


@pytest.mark.parametrize("name", sorted(BODY_TYPES))
def test_examples_are_valid_bodies(name: str) -> None:
    body_type = BODY_TYPES[name]
    source = random.Random(1)
    for _ in range(20):
        example = example_of(body_type, source)
        assert msgspec.json.decode(msgspec.json.encode(example), type=body_type) == example


def test_every_kind_of_defect_occurs_and_tokens_are_unique() -> None:
    fuzzer = MessageFuzzer(suite_topology({0.2}), "unit", seed=1)
    messages = [fuzzer.next_message() for _ in range(1_000)]
    assert len({message.token for message in messages}) == len(messages)
    named = {message.defect for message in messages}
    assert all(any(name in defect for defect in named) for name, _, _ in DEFECTS if name != "large")
    assert {len(message.queues) for message in messages} >= {0, 1, 2}


@pytest.mark.parametrize(
    ("field", "is_expired"),
    [
        (text("2020-01-01T00:00:00+00:00"), True),
        (text("2020-01-01 00:00:00"), True),
        (text("9999-01-01T00:00:00+00:00"), False),
        (text("soon"), False),
        (b"T" + (0).to_bytes(8, "big"), True),
        (b"T" + (2**35).to_bytes(8, "big"), False),
        (b"T" + (2**63 - 1).to_bytes(8, "big"), False),
        (b"T" + (2**50).to_bytes(8, "big"), False),
        (b"", False),
    ],
)
def test_a_request_expires_at_a_text_or_a_timestamp(field: bytes, is_expired: bool) -> None:
    assert is_expired_request({"prebook-kind": text("request"), "prebook-expires-at": field}) is is_expired
    assert not is_expired_request({"prebook-kind": text("event"), "prebook-expires-at": field})
