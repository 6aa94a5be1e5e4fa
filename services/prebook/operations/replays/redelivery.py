"""What is sent when a parked message is sent again, and where to."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from prebook.messaging import addresses
from prebook.messaging.codec import Wire
from prebook.messaging.recoverability import dead_letter
from prebook.operations.dead_letters.record import passing


@dataclass(frozen=True, slots=True)
class Address:
    exchange: str
    key: str


Allowed = Collection[tuple[str, str]]
"""(exchange, key) that operations may publish to; every queue of a service is one, with exchange REDELIVER."""


def way_back(exchange: str, key: str, queue: str, allowed: Allowed) -> Address:
    """Its first address, where that is ours to use; else the queue that it failed at.

    A fact goes to that queue alone: its other subscribers and the archive have heard it.
    """
    told = exchange == addresses.EVENTS and key.startswith(addresses.fact(""))
    if not told and (exchange, key) in allowed:
        return Address(exchange, key)
    return Address(addresses.REDELIVER, queue)


def outgoing(headers: Mapping[str, str], body: bytes, *, replay_id: str, parked_id: int, origin: Address) -> Wire:
    """The same message on its first attempt again, marked, and without an end to its time."""
    said = {name: value for name, value in headers.items() if not passing(name) and name != "prebook-expires-at"}
    known = {dead_letter.EXCHANGE: origin.exchange, dead_letter.KEY: origin.key} if origin.exchange else {}
    marks = {dead_letter.REPLAY: replay_id, dead_letter.PARKED: str(parked_id), "prebook-attempt": "1"}
    return Wire({**said, **known, **marks}, body)


def edited(headers: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """``changes`` over ``headers``; None takes one away."""
    return {name: value for name, value in {**headers, **changes}.items() if value is not None}
