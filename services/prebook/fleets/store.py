"""What fleets keep: which driver is held for whom in which slot."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from prebook.messaging.unit_of_work import UnitOfWork


class FleetsWork(UnitOfWork, Protocol):
    async def hold(self, fleet: str, booking_id: str, slot: datetime, candidates: Sequence[str]) -> str | None:
        """Hold the first of these drivers who is free in the slot; None where none is."""
        ...

    async def book(self, fleet: str, booking_id: str) -> None:
        """The offer was taken: what is held stays held."""
        ...

    async def release(self, fleet: str, booking_id: str) -> None:
        """The offer was not taken, or given back. Harmless where nothing is held."""
        ...
