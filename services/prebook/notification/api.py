"""Notification's own HTTP: its log, for whoever reconciles."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from prebook.contracts.booking import DeliveryLine, DeliveryPage
from prebook.http.problems import MEDIA_TYPE, Fault, Problem, ProblemDetails
from prebook.notification.domain.cursor import CURSOR, Position, cursor, position
from prebook.notification.store import NotificationWork
from prebook.runtime.service import Running

EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Beyond these nothing is logged, and the database's clock may not reach."""
BEGINNING = EARLIEST.isoformat()
INSTANT = "an instant with its offset from UTC (RFC 3339), such as 2026-11-24T10:00:00Z"

Since = Annotated[
    str, Parameter(description=f"{INSTANT}; delivered then or later", schema_extra={"format": "date-time"})
]
After = Annotated[str, Parameter(pattern=CURSOR, max_length=256, description="`next` of the page before")]
Limit = Annotated[int, Parameter(ge=1, le=1000, description="lines of a page")]
INVALID = {
    400: ResponseSpec(
        ProblemDetails,
        description="A parameter is wrong; `errors` names it",
        media_type=MEDIA_TYPE,
        generate_examples=False,
    )
}


def routes(running: Running[NotificationWork]) -> Sequence[ControllerRouterHandler]:
    @get("/v1/deliveries", summary="One line per notice that reached a rider, in pages", responses=INVALID)
    async def deliveries(since: Since = BEGINNING, after: After = "", limit: Limit = 500) -> DeliveryPage:
        begin_at, behind = _instant(since), position(after)
        async with running.begin() as work:
            # One more than asked for tells whether there is a next page.
            found = await work.deliveries(begin_at, behind, limit + 1)
        return _page(found, limit)

    return [deliveries]


def _page(found: Sequence[DeliveryLine], limit: int) -> DeliveryPage:
    lines = tuple(found[:limit])
    more = len(found) > limit
    return DeliveryPage(lines=lines, next=cursor(Position(lines[-1].booking_id, lines[-1].notice)) if more else None)


def _instant(since: str) -> datetime:
    try:
        instant: datetime = msgspec.convert(since, type=Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError:
        detail = f"{since!r} is not {INSTANT}; write + as %2B"
        fault = Fault(pointer="since", detail=detail)
        raise Problem(400, "invalid_parameter", f"since: {detail}", errors=[fault]) from None
    return min(max(instant, EARLIEST), LATEST)
