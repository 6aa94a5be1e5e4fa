"""Sample ride, and transactions of pricing's handlers."""

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
TUESDAY_NOON = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
BERLIN = Place(lat=52.5, lon=13.4)


def ride(**changes: Any) -> QuoteFare:
    """Request for the fare of a ride of about 10 km."""
    given: dict[str, Any] = {
        "pickup": BERLIN,
        "dropoff": Place(lat=52.59, lon=13.4),
        "pickup_at": TUESDAY_NOON,
        "vehicle_class": VehicleClass.STANDARD,
        "passengers": 1,
    }
    return QuoteFare(**{**given, **changes})


def handler_context(booking_id: str) -> HandlerContext:
    return HandlerContext(conversation_id=booking_id, message_id=f"{booking_id}.message", plan={}, now=NOW)


async def quote(begin: Begin, booking_id: str, *, quota: int, **changes: Any) -> Message | None:
    """Run the quote handler in one transaction and return its reply."""
    async with begin() as work:
        result = await quote_fare(quota)(handler_context(booking_id), ride(**changes), work)
    return result.reply


async def has_discount(begin: Begin, booking_id: str, *, quota: int) -> bool:
    reply = await quote(begin, booking_id, quota=quota)
    assert isinstance(reply, FareQuoted)
    return reply.discount.cents > 0


async def run_concurrently(*steps: Coroutine[Any, Any, Step]) -> list[Step]:
    """Run all steps concurrently and return their results; a failure cancels the others."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(step) for step in steps]
    return [task.result() for task in tasks]


async def end_booking(begin: Begin, booking_id: str) -> None:
    event = BookingEnded(booking_id=booking_id, ending=BookingEnding.CANCELLED, reason="the rider stays at home")
    async with begin() as work:
        await handle_booking_ended(handler_context(booking_id), event, work)
