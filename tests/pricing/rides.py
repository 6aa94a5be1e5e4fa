"""Rides to be priced, and steps to price them with."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from prebook.contracts.events import BookingEnded, BookingEnding
from prebook.contracts.message import Message
from prebook.contracts.pricing import FareQuoted, QuoteFare
from prebook.contracts.ride import Place, VehicleClass
from prebook.messaging.handlers import HandlerContext
from prebook.pricing.handlers import handle_booking_ended, quote_fare
from tests.pricing.conftest import Begin

Step = TypeVar("Step")

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
A_TUESDAY_NOON = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
BERLIN = Place(lat=52.5, lon=13.4)


def ride(**changes: Any) -> QuoteFare:
    """About 10 km."""
    given: dict[str, Any] = {
        "pickup": BERLIN,
        "dropoff": Place(lat=52.59, lon=13.4),
        "pickup_at": A_TUESDAY_NOON,
        "vehicle_class": VehicleClass.STANDARD,
        "passengers": 1,
    }
    return QuoteFare(**{**given, **changes})


def about(booking_id: str) -> HandlerContext:
    return HandlerContext(conversation_id=booking_id, message_id=f"{booking_id}.message", plan={}, now=NOW)


async def quoted(begin: Begin, booking_id: str, *, quota: int, **changes: Any) -> Message | None:
    """One transaction of the handler, and its answer."""
    async with begin() as work:
        outcome = await quote_fare(quota)(about(booking_id), ride(**changes), work)
    return outcome.reply


async def has_discount(begin: Begin, booking_id: str, *, quota: int) -> bool:
    answer = await quoted(begin, booking_id, quota=quota)
    assert isinstance(answer, FareQuoted)
    return answer.discount.cents > 0


async def at_once(*steps: Coroutine[Any, Any, Step]) -> list[Step]:
    """Their results. Where one fails, none of the others goes on behind the test's back."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(step) for step in steps]
    return [task.result() for task in tasks]


async def ended(begin: Begin, booking_id: str) -> None:
    fact = BookingEnded(booking_id=booking_id, ending=BookingEnding.CANCELLED, reason="the rider stays at home")
    async with begin() as work:
        await handle_booking_ended(about(booking_id), fact, work)
