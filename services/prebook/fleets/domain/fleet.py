"""The fleets that we know, the slots of the day, and which drivers to try for a booking."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MAX_CANDIDATES = 32
"""How many drivers are tried for one offer; with nine in ten taken, one offer in thirty finds none."""

RESERVATION_TTL = timedelta(minutes=2)
"""How long an offered driver is kept without a word. Well over the deadline of an auction: a hold that grows older
was offered to somebody who had stopped waiting, and nobody will ever settle it."""


@dataclass(frozen=True)
class Fleet:
    name: str
    drivers: int = 3000


FLEETS = {fleet.name: fleet for fleet in (Fleet("ada"), Fleet("borealis"), Fleet("cargo"))}


def slot_of(at: datetime) -> datetime:
    """Start of the quarter of an hour, UTC."""
    utc = at.astimezone(UTC)
    return utc.replace(minute=utc.minute - utc.minute % 15, second=0, microsecond=0)


def candidate_drivers(fleet: Fleet, booking_id: str) -> list[str]:
    """Drivers to try for this booking, in order, each once; bookings start at different places of the pool."""
    digest = hashlib.blake2b(f"{fleet.name}|{booking_id}".encode(), digest_size=8).digest()
    first = int.from_bytes(digest, "big")
    return [f"{fleet.name}-{(first + step) % fleet.drivers:04d}" for step in range(min(MAX_CANDIDATES, fleet.drivers))]
