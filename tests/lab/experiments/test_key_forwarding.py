"""Forwarders of the chain, and its laws, on messages and effects made by hand. No server."""

from collections.abc import Sequence

import pytest

from prebook.lab.experiments.events import offer_settled, offer_settled_envelope
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.ordering.key_forwarding import (
    FALLBACK,
    RIGHT,
    WRONG,
    ChainRun,
    chain_checks,
    drop_key,
    keep_key,
    replace_key,
)
from prebook.lab.experiments.ordering.registration import COMPLETE, LAW
from prebook.lab.experiments.ordering.sequence import MessageSequence
from prebook.lab.experiments.ordering.workers import Effect
from prebook.lab.experiments.patterns.site import id_of
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.headers import HASH_SLOT_HEADER, PARTITION_KEY_HEADER
from prebook.patterns.message_groups import hash_slot


def wire(number: int) -> WireMessage:
    return encode(
        offer_settled_envelope(id_of("key-1", str(number), ""), offer_settled("key-1"), conversation_id="key-1")
    )


def test_a_forwarded_key_is_the_one_of_the_message() -> None:
    kept = keep_key(wire(1))
    assert (kept.headers[PARTITION_KEY_HEADER], kept.headers[HASH_SLOT_HEADER]) == ("key-1", str(hash_slot("key-1")))


def test_a_dropped_key_leaves_the_rest_of_the_message() -> None:
    dropped = drop_key(wire(1))
    assert not {PARTITION_KEY_HEADER, HASH_SLOT_HEADER} & dropped.headers.keys()
    assert dropped.body == wire(1).body
    assert len(dropped.headers) == len(wire(1).headers) - 2


def test_a_replaced_key_differs_between_messages_of_one_key() -> None:
    replaced = [replace_key(wire(number)) for number in range(8)]
    assert len({each.headers[HASH_SLOT_HEADER] for each in replaced}) > 1
    assert decode(replaced[0]).body == decode(wire(0)).body


@pytest.mark.parametrize(
    ("positions", "violated"), [([0, 1, 2, 3], []), ([1, 0, 3, 2], []), ([2, 0, 1, 3], [LAW]), ([0, 1, 2], [COMPLETE])]
)
@pytest.mark.parametrize("arrangement", [RIGHT, FALLBACK, WRONG])
def test_each_subscriber_is_judged_by_the_published_keys(
    arrangement: str, positions: Sequence[int], violated: list[str]
) -> None:
    effects = [Effect(position, 0, 0.0, 1.0) for position in positions]
    checks = chain_checks(arrangement, "pricing", ChainRun(MessageSequence("abab", [0.0] * 4), effects))
    assert [check.law for check in checks if check.verdict is LawVerdict.VIOLATED] == violated
    assert checks[0].expected is (LawVerdict.VIOLATED if arrangement == WRONG else LawVerdict.HELD)
