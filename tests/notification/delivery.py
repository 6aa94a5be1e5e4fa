"""Sample notices, and a client of the delivery log over its real HTTP application."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
from litestar import Litestar

from prebook.contracts.booking import DeliveryEntry, DeliveryPage
from prebook.contracts.message import Message
from prebook.contracts.notification import Notice, NotifyRider
from prebook.http.app import create_app
from prebook.messaging.handlers import HandlerContext
from prebook.notification.app import SERVICE
from prebook.notification.handlers import notify_rider
from prebook.testing.context import make_context
from tests.notification.conftest import Begin
from tests.world import settings

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
    routes = SERVICE.edge(make_context("notification", begin, settings())).routes
    app: Any = create_app(
        "notification", routes, missing_dependencies=_nothing_missing, refresh_gauges=_nothing, lifespan=_no_lifespan
    )  # httpx wants wider types of scope and events than Litestar declares
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://notification") as client:
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


async def _nothing_missing() -> Mapping[str, str]:
    return {}


async def _nothing() -> None:
    return None


@asynccontextmanager
async def _no_lifespan(_: Litestar) -> AsyncIterator[None]:
    yield
