"""Fleets' state over plain dicts, with the keys that the tables have."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from prebook.fleets.store import Hold


class HeldTwice(Exception):
    """A booking would have held a second driver of a fleet."""


@dataclass(frozen=True)
class Held:
    hold: Hold
    booked: bool = False

    def is_over(self, now: datetime) -> bool:
        return not self.booked and self.hold.until < now


Key = tuple[str, str, datetime]


@dataclass
class MemoryFleets:
    holds: dict[Key, Held] = field(default_factory=dict)
    """(fleet, driver, slot) -> for whom."""
    unreadable: dict[tuple[str, str], str] = field(default_factory=dict)

    async def hold(self, hold: Hold, candidates: Sequence[str]) -> str | None:
        free = (d for d in candidates if self._is_free((hold.fleet, d, hold.slot), hold.now))
        driver = next(free, None)
        if driver is None:
            return None
        if any((h.hold.fleet, h.hold.booking_id) == (hold.fleet, hold.booking_id) for h in self.holds.values()):
            raise HeldTwice(hold.booking_id)
        self.holds[hold.fleet, driver, hold.slot] = Held(hold)
        return driver

    async def book(self, fleet: str, driver: str, booking_id: str) -> None:
        for key in self._of(fleet, driver, booking_id):
            self.holds[key] = replace(self.holds[key], booked=True)

    async def release(self, fleet: str, driver: str, booking_id: str) -> None:
        for key in self._of(fleet, driver, booking_id):
            del self.holds[key]

    async def note_unreadable(self, fleet: str, booking_id: str, excerpt: str) -> None:
        self.unreadable.setdefault((booking_id, fleet), excerpt)

    def _is_free(self, key: Key, now: datetime) -> bool:
        return key not in self.holds or self.holds[key].is_over(now)

    def _of(self, fleet: str, driver: str, booking_id: str) -> list[Key]:
        return [
            key for key, held in self.holds.items() if key[:2] == (fleet, driver) and held.hold.booking_id == booking_id
        ]
