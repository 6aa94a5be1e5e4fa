"""What is said in a run: good messages by name, and one that is broken in the way of its kind."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, OFFER_SETTLED
from prebook.lab.experiments.poison.model import EXPECTED_PARKED, PoisonKind, PoisonLoad
from prebook.messaging.codec import WireMessage, encode
from prebook.messaging.envelope import Envelope, MessageKind, message_id

WARM_UP = "early"
MEASURED = "other"
POISON = "poison"
"""How names begin: those of the warm-up, of the messages that are measured, and of the one that is poison."""
PLAN = dict.fromkeys(FLOWS, Coupling.ONE_WAY)
CORRUPTIONS: Mapping[PoisonKind, tuple[Mapping[str, str], bytes]] = {
    PoisonKind.MALFORMED: ({}, b'{"booking_id": '),
    PoisonKind.WRONG_SCHEMA: ({}, b'{"booking_id": 7}'),
    PoisonKind.UNKNOWN_VERSION: ({"ce-type": "prebook.offer_settled.v9"}, b"{}"),
}
"""What is changed of a good one: headers and body. One that always fails looks like any other."""


def messages(load: PoisonLoad, poison: PoisonKind, run: str) -> Iterator[tuple[str, WireMessage]]:
    """(name, message), in the order in which they are said. Ids are of this run alone."""
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
    envelope = Envelope(
        id=message_id(f"{run}.{name}", OFFER_SETTLED.name),
        kind=MessageKind.EVENT,
        flow=OFFER_SETTLED.name,
        body=OfferSettled(booking_id=name, fleet="lab", driver="lab", verdict=OfferVerdict.ACCEPTED),
        source=OFFER_SETTLED.publisher,
        conversation_id=name,
        time=datetime.now(UTC),
        plan=PLAN,
    )
    return name, encode(envelope)
