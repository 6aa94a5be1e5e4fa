"""Defects of fleets."""

from typing import Any

from prebook.fleets.sql import FleetsSql
from tests.mutations.seeding import replace


def reservation_not_released() -> None:
    """Keep the driver of a ride that was cancelled, and of an offer that was declined."""

    async def keep(*_: Any) -> None:
        return None

    replace(FleetsSql, "release", lambda _: keep)
