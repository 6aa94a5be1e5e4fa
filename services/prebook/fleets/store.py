"""What fleets keep: which driver is held for whom in which slot, and replies that nobody could read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from prebook.messaging.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """For whom a driver is wanted. Unless booked by ``expires_at``, the next one may take the driver."""

    fleet: str
    slot: datetime
    booking_id: str
    now: datetime
    expires_at: datetime


class FleetsWork(UnitOfWork, Protocol):
    async def reserve(self, reservation: Reservation, candidates: Sequence[str]) -> str | None:
        """Hold the first of these drivers who is free in the slot, or whose hold has run out; None: nobody is."""
        ...

    async def confirm(self, fleet: str, driver: str, booking_id: str) -> None:
        """The offer was taken: what is held stays held. Harmless where nothing is held."""
        ...

    async def release(self, fleet: str, driver: str, booking_id: str) -> None:
        """The offer was not taken, or given back. Harmless where nothing is held."""
        ...

    async def record_unreadable(self, fleet: str, booking_id: str, excerpt: str) -> None:
        """Keep the evidence; how many there are is how often a partner was not understood."""
        ...
