"""Message translators: our question in each partner's words, and its reply in ours.

Source: Enterprise Integration Patterns, "Message Translator". A partner may say anything; what cannot be read is a
refusal with a reason, never an error that comes again and again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prebook.contracts.fleets import AskFleet
from prebook.contracts.ride import VehicleClass


@dataclass(frozen=True)
class Accepts:
    minutes_away: int


@dataclass(frozen=True)
class Declines:
    reason: str


Reply = Accepts | Declines
FARTHEST_MIN = 24 * 60


@dataclass(frozen=True)
class Translator:
    """Both directions of one partner's language."""

    speak: Callable[[AskFleet], bytes]
    understand: Callable[[bytes], Reply]

    def reply(self, said: bytes) -> Reply:
        try:
            reply = self.understand(said)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return Declines("unreadable reply")
        if isinstance(reply, Accepts) and not 0 <= reply.minutes_away <= FARTHEST_MIN:
            return Declines("unbelievable reply")
        return reply


def ada_speak(ask: AskFleet) -> bytes:
    """Ada: JSON objects, epoch seconds, seconds to arrival."""
    where = {"latitude": ask.pickup.lat, "longitude": ask.pickup.lon}
    trip = {"from": where, "when": int(ask.pickup_at.timestamp()), "tier": ask.vehicle_class, "seats": ask.passengers}
    return json.dumps({"trip": trip}).encode()


def ada_understand(said: bytes) -> Reply:
    reply = json.loads(said)
    return Accepts(-(-int(reply["eta_s"]) // 60)) if reply["status"] == "OK" else Declines(str(reply["status"])[:60])


BOREALIS_CLASSES = {VehicleClass.STANDARD: "S", VehicleClass.COMFORT: "C", VehicleClass.XL: "X"}


def borealis_speak(ask: AskFleet) -> bytes:
    """Borealis: one line of fields, as it was done before there was JSON."""
    when = ask.pickup_at.strftime("%Y%m%d%H%M")
    fields = ("REQ", f"{ask.pickup.lat:.5f}", f"{ask.pickup.lon:.5f}", when, BOREALIS_CLASSES[ask.vehicle_class])
    return ";".join((*fields, str(ask.passengers))).encode()


def borealis_understand(said: bytes) -> Reply:
    word, value = said.decode("ascii").split(";", 1)
    return {"ACK": lambda: Accepts(int(value)), "NAK": lambda: Declines(value[:60])}[word]()


def cargo_speak(ask: AskFleet) -> bytes:
    """Cargo: a bare array, coordinates in millionths of a degree."""
    where = [round(ask.pickup.lat * 1e6), round(ask.pickup.lon * 1e6)]
    return json.dumps(["offer?", where, ask.pickup_at.isoformat(), ask.vehicle_class, ask.passengers]).encode()


def cargo_understand(said: bytes) -> Reply:
    word, value = json.loads(said)
    return {"yes": lambda: Accepts(int(value)), "no": lambda: Declines(str(value)[:60])}[word]()


TRANSLATORS: Mapping[str, Translator] = {
    "ada": Translator(ada_speak, ada_understand),
    "borealis": Translator(borealis_speak, borealis_understand),
    "cargo": Translator(cargo_speak, cargo_understand),
}
