"""What is said in a run: good messages by name, and one that is broken in the way of its kind."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, OFFER_SETTLED
from prebook.lab.experiments.poison.model import FATES, Load, Poison
from prebook.messaging.codec import Wire, encode
from prebook.messaging.envelope import Envelope, Kind, message_id

EARLY, OTHER, POISON = "early", "other", "poison"
"""How names begin: those of the warm-up, of the messages that are measured, and of the one that is poison."""
PLAN = dict.fromkeys(FLOWS, Coupling.ONE_WAY)
BROKEN: Mapping[Poison, tuple[Mapping[str, str], bytes]] = {
    Poison.MALFORMED: ({}, b'{"booking_id": '),
    Poison.WRONG_SCHEMA: ({}, b'{"booking_id": 7}'),
    Poison.UNKNOWN_VERSION: ({"ce-type": "prebook.offer_settled.v9"}, b"{}"),
}
"""What is changed of a good one: headers and body. One that always fails looks like any other."""


def messages(load: Load, poison: Poison, run: str) -> Iterator[tuple[str, Wire]]:
    """(name, message), in the order in which they are said. Ids are of this run alone."""
    for number in range(load.warm_up):
        yield _good(run, f"{EARLY}-{number}")
    for number in range(load.messages):
        if number == load.poison_at and poison in FATES:
            yield _poison(run, poison)
        yield _good(run, f"{OTHER}-{number}")


def _poison(run: str, poison: Poison) -> tuple[str, Wire]:
    name, wire = _good(run, POISON)
    headers, body = BROKEN.get(poison, ({}, wire.body))
    return name, replace(wire, headers={**wire.headers, **headers}, body=body)


def _good(run: str, name: str) -> tuple[str, Wire]:
    envelope = Envelope(
        id=message_id(f"{run}.{name}", OFFER_SETTLED.name),
        kind=Kind.FACT,
        flow=OFFER_SETTLED.name,
        body=OfferSettled(booking_id=name, fleet="lab", driver="lab", verdict=OfferVerdict.ACCEPTED),
        source=OFFER_SETTLED.publisher,
        conversation=name,
        time=datetime.now(UTC),
        plan=PLAN,
    )
    return name, encode(envelope)
