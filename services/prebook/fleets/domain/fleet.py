"""Known fleets, slots of the day, and candidate drivers for a booking."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SLOT = timedelta(minutes=15)
"""A driver is reserved by slots of this length, aligned to the hour in UTC."""

MAX_CANDIDATES = 32
"""Drivers tried for one offer; with nine in ten reserved, one offer in thirty finds none."""

RESERVATION_TTL = timedelta(minutes=10)
"""Time that an offered driver stays reserved without a verdict. Well over the deadline of an auction: the auction of an
older reservation has ended, and its verdict will never come."""


@dataclass(frozen=True)
class Fleet:
    """A partner fleet and the number of its drivers."""

    name: str
    drivers: int = 3000


FLEETS = {fleet.name: fleet for fleet in (Fleet("ada"), Fleet("borealis"), Fleet("cargo"), Fleet("delta"))}


def covered_slots(pickup_at: datetime, ride_minutes: int) -> tuple[datetime, ...]:
    """Starts of the slots, in UTC and in order, that a ride touches from its pickup until just before its end.

    Two rides overlap only if they have a slot in common.
    """
    pickup_utc = pickup_at.astimezone(UTC)
    end = pickup_utc + timedelta(minutes=ride_minutes)
    slots = [slot_of(pickup_utc)]
    while slots[-1] + SLOT < end:
        slots.append(slots[-1] + SLOT)
    return tuple(slots)


def slot_of(at: datetime) -> datetime:
    """Start of the slot that contains ``at``, in UTC."""
    utc = at.astimezone(UTC)
    return utc.replace(minute=utc.minute - utc.minute % 15, second=0, microsecond=0)


def candidate_drivers(fleet: Fleet, booking_id: str) -> list[str]:
    """Distinct drivers to try for this booking, in order; a hash of the booking id chooses the first one."""
    digest = hashlib.blake2b(f"{fleet.name}|{booking_id}".encode(), digest_size=8).digest()
    first = int.from_bytes(digest, "big")
    return [f"{fleet.name}-{(first + step) % fleet.drivers:04d}" for step in range(min(MAX_CANDIDATES, fleet.drivers))]
