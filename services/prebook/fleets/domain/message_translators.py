"""Message translators: our question in each partner's words, and its reply in ours.

Source: Enterprise Integration Patterns, "Message Translator". A partner may say anything; what cannot be read is a
kind of reply, never an error that comes again and again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC

from prebook.contracts.fleets import AskFleet
from prebook.contracts.ride import VehicleClass

FARTHEST_MIN = 24 * 60
LONGEST_REASON, LONGEST_EXCERPT = 60, 200


@dataclass(frozen=True)
class Accepts:
    minutes_away: int


@dataclass(frozen=True)
class Declines:
    reason: str


@dataclass(frozen=True)
class Unreadable:
    """Not in the partner's own language, or nothing that can be true."""

    excerpt: str


Reply = Accepts | Declines | Unreadable


@dataclass(frozen=True)
class Translator:
    """Both directions of one partner's language."""

    speak: Callable[[AskFleet], bytes]
    understand: Callable[[bytes], Accepts | Declines]

    def reply(self, said: bytes) -> Reply:
        try:
            reply = self.understand(said)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
            return unreadable(said)
        if isinstance(reply, Accepts) and not 0 <= reply.minutes_away <= FARTHEST_MIN:
            return unreadable(said)
        return reply


def unreadable(said: bytes) -> Unreadable:
    """An excerpt that is safe to store: printable ASCII, bounded."""
    return Unreadable(ascii(said[:LONGEST_EXCERPT].decode("latin-1"))[:LONGEST_EXCERPT])


def ada_speak(ask: AskFleet) -> bytes:
    """Ada: JSON objects, epoch seconds, seconds to arrival."""
    where = {"latitude": ask.pickup.lat, "longitude": ask.pickup.lon}
    trip = {"from": where, "when": int(ask.pickup_at.timestamp()), "tier": ask.vehicle_class, "seats": ask.passengers}
    return json.dumps({"trip": trip}).encode()


def ada_understand(said: bytes) -> Accepts | Declines:
    reply = json.loads(said)
    return Accepts(-(-int(reply["eta_s"]) // 60)) if reply["status"] == "OK" else _declines(reply["status"])


BOREALIS_CLASSES = {VehicleClass.STANDARD: "S", VehicleClass.COMFORT: "C", VehicleClass.XL: "X"}


def borealis_speak(ask: AskFleet) -> bytes:
    """Borealis: one line of fields, as it was done before there was JSON."""
    when = ask.pickup_at.astimezone(UTC).strftime("%Y%m%d%H%M")
    fields = ("REQ", f"{ask.pickup.lat:.5f}", f"{ask.pickup.lon:.5f}", when, BOREALIS_CLASSES[ask.vehicle_class])
    return ";".join((*fields, str(ask.passengers))).encode()


def borealis_understand(said: bytes) -> Accepts | Declines:
    word, value = said.decode("ascii").split(";", 1)
    return Accepts(int(value)) if word == "ACK" else _refused(word, "NAK", value)


def cargo_speak(ask: AskFleet) -> bytes:
    """Cargo: a bare array, coordinates in millionths of a degree, hundredths of an hour to arrival."""
    where = [round(ask.pickup.lat * 1e6), round(ask.pickup.lon * 1e6)]
    when = ask.pickup_at.astimezone(UTC).isoformat()
    return json.dumps(["offer?", where, when, ask.vehicle_class.upper(), ask.passengers]).encode()


def cargo_understand(said: bytes) -> Accepts | Declines:
    word, value = json.loads(said)
    return Accepts(-(-int(value) * 60 // 100)) if word == "yes" else _refused(word, "no", value)


def _refused(word: object, refusal: str, reason: object) -> Declines:
    """Raises ValueError where it is not a refusal either."""
    if word != refusal:
        raise ValueError(word)
    return _declines(reason)


def _declines(reason: object) -> Declines:
    """Refuses a reason that is no text; what is left of it is bounded and printable."""
    if not isinstance(reason, str):
        raise TypeError
    return Declines("".join(c for c in reason[:LONGEST_REASON] if c.isprintable()))


TRANSLATORS: Mapping[str, Translator] = {
    "ada": Translator(ada_speak, ada_understand),
    "borealis": Translator(borealis_speak, borealis_understand),
    "cargo": Translator(cargo_speak, cargo_understand),
}
