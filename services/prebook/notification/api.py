"""Notification's own HTTP: its log, for whoever reconciles."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from litestar import get
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from prebook.contracts.booking import DeliveryPage
from prebook.notification.store import NotificationWork
from prebook.runtime.serve import Running

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


def routes(running: Running[NotificationWork]) -> Sequence[ControllerRouterHandler]:
    @get("/v1/deliveries", summary="The delivery log, one line per notice that reached a rider")
    async def deliveries(
        since: datetime = BEGINNING,
        after: Annotated[str, Parameter(max_length=256, description="``next`` of the page before")] = "",
        limit: Annotated[int, Parameter(ge=1, le=1000)] = 500,
    ) -> DeliveryPage:
        async with running.begin() as work:
            return await work.deliveries(since if since.tzinfo else since.replace(tzinfo=UTC), after, limit)

    return [deliveries]
