"""Messages of a run of the poison experiment: named valid messages, and one poison message."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from prebook.flows import OFFER_SETTLED
from prebook.lab.experiments.events import offer_settled, offer_settled_envelope
from prebook.lab.experiments.poison.model import EXPECTED_PARKED, PoisonKind, PoisonLoad
from prebook.messaging.codec import WireMessage, encode
from prebook.messaging.envelope import message_id

WARM_UP = "early"
MEASURED = "other"
POISON = "poison"
"""Prefixes of message names: warm-up, measured messages, and the poison message."""

CORRUPTIONS: Mapping[PoisonKind, tuple[Mapping[str, str], bytes]] = {
    PoisonKind.MALFORMED: ({}, b'{"booking_id": '),
    PoisonKind.WRONG_SCHEMA: ({}, b'{"booking_id": 7}'),
    PoisonKind.UNKNOWN_VERSION: ({"ce-type": "prebook.offer_settled.v9"}, b"{}"),
}
"""Poison kind -> changed headers and body of a valid message. One that always fails or kills its consumer has none."""


def messages(load: PoisonLoad, poison: PoisonKind, run: str) -> Iterator[tuple[str, WireMessage]]:
    """Yield name and message in publishing order. Message ids are unique to ``run``."""
    for number in range(load.warm_up):
        yield _valid_message(run, f"{WARM_UP}-{number}")
    for number in range(load.messages):
        if number == load.poison_index and poison in EXPECTED_PARKED:
            yield _poison_message(run, poison)
        yield _valid_message(run, f"{MEASURED}-{number}")


def _poison_message(run: str, poison: PoisonKind) -> tuple[str, WireMessage]:
    name, wire = _valid_message(run, POISON)
    headers, body = CORRUPTIONS.get(poison, ({}, wire.body))
    return name, replace(wire, headers={**wire.headers, **headers}, body=body)


def _valid_message(run: str, name: str) -> tuple[str, WireMessage]:
    envelope = offer_settled_envelope(
        message_id(name, OFFER_SETTLED.name, run), offer_settled(name), conversation_id=name
    )
    return name, encode(envelope)
