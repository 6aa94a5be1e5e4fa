"""Notification's own HTTP: its log, for whoever reconciles."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from prebook.contracts.booking import DeliveryEntry, DeliveryPage
from prebook.http.problems import MEDIA_TYPE, FieldError, Problem, ProblemDetails
from prebook.notification.domain.cursor import CURSOR_PATTERN, LogPosition, decode_cursor, encode_cursor
from prebook.notification.store import NotificationWork
from prebook.runtime.service import ServiceContext

EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Beyond these nothing is logged, and the database's clock may not reach."""
DEFAULT_SINCE = EARLIEST.isoformat()
INSTANT = "an instant with its offset from UTC (RFC 3339), such as 2026-11-24T10:00:00Z"

Since = Annotated[
    str, Parameter(description=f"{INSTANT}; delivered then or later", schema_extra={"format": "date-time"})
]
After = Annotated[str, Parameter(pattern=CURSOR_PATTERN, max_length=256, description="`next` of the page before")]
Limit = Annotated[int, Parameter(ge=1, le=1000, description="lines of a page")]
BAD_REQUEST_RESPONSES = {
    400: ResponseSpec(
        ProblemDetails,
        description="A parameter is wrong; `errors` names it",
        media_type=MEDIA_TYPE,
        generate_examples=False,
    )
}


def routes(context: ServiceContext[NotificationWork]) -> Sequence[ControllerRouterHandler]:
    @get(
        "/v1/deliveries", summary="One line per notice that reached a rider, in pages", responses=BAD_REQUEST_RESPONSES
    )
    async def list_deliveries(since: Since = DEFAULT_SINCE, after: After = "", limit: Limit = 500) -> DeliveryPage:
        begin_at, behind = _parse_since(since), decode_cursor(after)
        async with context.units.commands() as work:
            # One more than asked for tells whether there is a next page.
            found = await work.list_deliveries(begin_at, behind, limit + 1)
        return _page(found, limit)

    return [list_deliveries]


def _page(found: Sequence[DeliveryEntry], limit: int) -> DeliveryPage:
    lines = tuple(found[:limit])
    more = len(found) > limit
    return DeliveryPage(
        entries=lines, next=encode_cursor(LogPosition(lines[-1].booking_id, lines[-1].notice)) if more else None
    )


def _parse_since(since: str) -> datetime:
    try:
        instant: datetime = msgspec.convert(since, type=Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError:
        detail = f"{since!r} is not {INSTANT}; write + as %2B"
        fault = FieldError(pointer="since", detail=detail)
        raise Problem(400, "invalid_parameter", f"since: {detail}", errors=[fault]) from None
    return min(max(instant, EARLIEST), LATEST)
