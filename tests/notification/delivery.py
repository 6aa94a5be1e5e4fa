"""Sample notices, and a client of the delivery log over its real HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import msgspec

from prebook.contracts.booking import DeliveryEntry, DeliveryPage
from prebook.contracts.message import Message
from prebook.contracts.notification import Notice, NotifyRider
from prebook.messaging.handlers import HandlerContext
from prebook.notification.app import SERVICE
from prebook.notification.handlers import notify_rider
from prebook.testing.http import open_internal_client
from prebook.testing.single import assemble_alone
from tests.notification.conftest import Begin

RIDER = "rider-canary"
TEXT = "Your ride is confirmed, canary."


def handler_context(booking_id: str, message_id: str) -> HandlerContext:
    return HandlerContext(conversation_id=booking_id, message_id=message_id, plan={}, now=datetime.now(UTC))


async def notify(
    begin: Begin, booking_id: str, notice: Notice = Notice.CONFIRMED, *, text: str = TEXT, message_id: str = "m1"
) -> Message | None:
    """Run the handler in one transaction and return its reply."""
    request = NotifyRider(rider_id=RIDER, notice=notice, text=text)
    async with begin() as work:
        return (await notify_rider(handler_context(booking_id, message_id), request, work)).reply


@asynccontextmanager
async def log_client(begin: Begin) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP client of the service."""
    async with open_internal_client(assemble_alone(SERVICE, begin)) as client:
        yield client


async def read_page(client: httpx.AsyncClient, **query: str | int) -> DeliveryPage:
    response = await client.get("/v1/deliveries", params=query)
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=DeliveryPage)


async def read_all_pages(client: httpx.AsyncClient, **query: str | int) -> list[DeliveryEntry]:
    """Every entry, page by page."""
    page = await read_page(client, **query)
    entries = [*page.entries]
    while page.next is not None:
        page = await read_page(client, **{**query, "after": page.next})
        entries += page.entries
    return entries
