"""Port of the fleets' store: reservations of drivers, and unreadable replies that are not parked yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from prebook.contracts.route import RouteGeometry
from prebook.messaging.unit_of_work import UnitOfWork
from prebook.patterns.normalizer import UnreadableMessage


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """A reservation to make. Unless confirmed by ``expires_at``, another booking may reserve the driver."""

    fleet: str
    slots: Sequence[datetime]
    """Starts of all slots that the ride covers, in order."""
    booking_id: str
    now: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class UnreadableReply:
    """An unreadable reply of a partner to the request ``message_id``."""

    booking_id: str
    fleet: str
    message_id: str
    received_at: datetime
    unreadable: UnreadableMessage


class FleetsWork(UnitOfWork, Protocol):
    """Unit of work over the fleets' store."""

    async def reserve(self, reservation: Reservation, candidates: Sequence[str]) -> str | None:
        """Reserve the first of these drivers who is free in all slots, apart from reservations that have expired.

        Returns None if there is none. The slots of a booking are reserved, confirmed and released together.
        """
        ...

    async def confirm(self, fleet: str, driver: str, booking_id: str) -> None:
        """Make the reservation permanent: the offer was accepted. No effect without a reservation."""
        ...

    async def release(self, fleet: str, driver: str, booking_id: str) -> None:
        """Delete the reservation: the offer was declined or released. No effect without a reservation."""
        ...

    async def withdraw(self, fleet: str, booking_id: str) -> None:
        """Delete what the fleet has reserved for the booking, and let no request to it have an effect any more.

        A request that is being handled has its effect before this, or none.
        """
        ...

    async def save_route(self, booking_id: str, revision: int, geometry: RouteGeometry) -> None:
        """Store the route of a booking. No effect if a newer revision is stored."""
        ...

    async def record_unreadable(self, reply: UnreadableReply) -> None:
        """Store an unreadable reply, at most one per booking and fleet."""
        ...

    async def list_unreadable(self, limit: int) -> Sequence[UnreadableReply]:
        """Return the oldest stored unreadable replies, at most ``limit``."""
        ...

    async def delete_unreadable(self, booking_id: str, fleet: str) -> None:
        """Delete a stored unreadable reply."""
        ...
