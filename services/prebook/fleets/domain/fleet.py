"""The fleets, and what a seed makes of a ride. The same ride gets the same replies, whatever booking asks for it."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from prebook.contracts.fleets import AskFleet

SLOT = timedelta(minutes=15)
CANDIDATES = 8


@dataclass(frozen=True)
class Fleet:
    """How a partner behaves. Latencies are seconds, acceptance a share of the rides."""

    name: str
    acceptance: float
    fastest_s: float
    slowest_s: float
    nearest_min: int
    farthest_min: int
    drivers: int = 3000


FLEETS = {
    fleet.name: fleet
    for fleet in (
        Fleet("ada", 0.80, 0.005, 0.020, 3, 12),
        Fleet("borealis", 0.70, 0.010, 0.040, 2, 15),
        Fleet("cargo", 0.60, 0.020, 0.080, 5, 20),
    )
}


@dataclass(frozen=True)
class Chance:
    """Numbers in [0, 1) that belong to one fleet and one ride."""

    accepts: float
    nearness: float
    slowness: float


def chance_of(seed: int, ask: AskFleet) -> Chance:
    where = f"{ask.pickup.lat:.5f},{ask.pickup.lon:.5f}"
    ride = f"{seed}|{ask.fleet}|{where}|{slot_of(ask.pickup_at).isoformat()}|{ask.vehicle_class}|{ask.passengers}"
    digest = hashlib.blake2b(ride.encode(), digest_size=24).digest()
    accepts, nearness, slowness = (int.from_bytes(digest[at : at + 8], "big") / 2**64 for at in (0, 8, 16))
    return Chance(accepts, nearness, slowness)


def slot_of(at: datetime) -> datetime:
    """Start of the quarter of an hour."""
    return at - timedelta(minutes=at.minute % 15, seconds=at.second, microseconds=at.microsecond)


def candidates(fleet: Fleet, booking_id: str, attempt: int) -> list[str]:
    """Drivers to try for this booking, in order; another few on each attempt."""
    digest = hashlib.blake2b(f"{fleet.name}|{booking_id}|{attempt}".encode(), digest_size=8).digest()
    first = int.from_bytes(digest, "big")
    return [f"{fleet.name}-{(first + step * 7) % fleet.drivers:04d}" for step in range(CANDIDATES)]
