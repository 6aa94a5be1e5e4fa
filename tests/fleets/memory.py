"""In-memory store of fleets, with the unique keys of its tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from prebook.contracts.route import RouteGeometry
from prebook.fleets.store import Reservation, UnreadableReply


class DoubleReservation(Exception):
    """A booking would reserve a second driver of a fleet."""


@dataclass(frozen=True)
class StoredReservation:
    reservation: Reservation
    confirmed: bool = False

    def is_over(self, now: datetime) -> bool:
        return not self.confirmed and self.reservation.expires_at < now


Key = tuple[str, str, datetime]


@dataclass
class MemoryFleets:
    reservations: dict[Key, StoredReservation] = field(default_factory=dict)
    """Reservation by (fleet, driver, slot), once for each slot."""
    routes: dict[str, tuple[int, RouteGeometry]] = field(default_factory=dict)
    unreadable: dict[tuple[str, str], UnreadableReply] = field(default_factory=dict)

    async def reserve(self, reservation: Reservation, candidates: Sequence[str]) -> str | None:
        free = (d for d in candidates if self._is_free(d, reservation))
        driver = next(free, None)
        if driver is None:
            return None
        if any(
            (stored.reservation.fleet, stored.reservation.booking_id) == (reservation.fleet, reservation.booking_id)
            for stored in self.reservations.values()
        ):
            raise DoubleReservation(reservation.booking_id)
        for key in self._of(reservation.fleet, driver):
            if self.reservations[key].is_over(reservation.now):
                del self.reservations[key]
        for slot in reservation.slots:
            self.reservations[reservation.fleet, driver, slot] = StoredReservation(reservation)
        return driver

    async def confirm(self, fleet: str, driver: str, booking_id: str) -> None:
        for key in self._of(fleet, driver, booking_id):
            self.reservations[key] = replace(self.reservations[key], confirmed=True)

    async def release(self, fleet: str, driver: str, booking_id: str) -> None:
        for key in self._of(fleet, driver, booking_id):
            del self.reservations[key]

    async def withdraw(self, fleet: str, booking_id: str) -> None:
        for key, stored in list(self.reservations.items()):
            if (stored.reservation.fleet, stored.reservation.booking_id) == (fleet, booking_id):
                del self.reservations[key]

    async def save_route(self, booking_id: str, revision: int, geometry: RouteGeometry) -> None:
        if booking_id not in self.routes or revision > self.routes[booking_id][0]:
            self.routes[booking_id] = (revision, geometry)

    async def record_unreadable(self, reply: UnreadableReply) -> None:
        self.unreadable.setdefault((reply.booking_id, reply.fleet), reply)

    async def list_unreadable(self, limit: int) -> Sequence[UnreadableReply]:
        return list(self.unreadable.values())[:limit]

    async def delete_unreadable(self, booking_id: str, fleet: str) -> None:
        self.unreadable.pop((booking_id, fleet), None)

    def _is_free(self, driver: str, reservation: Reservation) -> bool:
        keys = [(reservation.fleet, driver, slot) for slot in reservation.slots]
        return all(key not in self.reservations or self.reservations[key].is_over(reservation.now) for key in keys)

    def _of(self, fleet: str, driver: str, booking_id: str | None = None) -> list[Key]:
        return [
            key
            for key, stored in self.reservations.items()
            if key[:2] == (fleet, driver) and booking_id in (None, stored.reservation.booking_id)
        ]
