"""Notification's HTTP API: the delivery log, for reconciliation."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter

from prebook.contracts.booking import DeliveryEntry, DeliveryPage
from prebook.http.call_guard import ALLOW_CONSOLE
from prebook.http.problems import MEDIA_TYPE, FieldError, Problem, ProblemDetails, problem_responses
from prebook.notification.domain.cursor import CURSOR_PATTERN, LogPosition, decode_cursor, encode_cursor
from prebook.notification.store import NotificationWork
from prebook.runtime.service import ServiceContext

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""Bounds of ``since``: PostgreSQL's timestamps end before Python's, and nothing is logged outside of them."""
DEFAULT_SINCE = EARLIEST.isoformat()
INSTANT = "an instant with its offset from UTC (RFC 3339), such as 2026-11-24T10:00:00Z"

Since = Annotated[
    str, Parameter(description=f"{INSTANT}; delivered then or later", schema_extra={"format": "date-time"})
]
After = Annotated[str, Parameter(pattern=CURSOR_PATTERN, max_length=256, description="`next` of the previous page")]
Limit = Annotated[int, Parameter(ge=1, le=1000, description="entries of a page")]
BAD_REQUEST_RESPONSES = {
    400: ResponseSpec(
        ProblemDetails,
        description="A parameter is wrong; `errors` names it",
        media_type=MEDIA_TYPE,
        generate_examples=False,
    )
}


def internal_routes(context: ServiceContext[NotificationWork]) -> Sequence[BaseRouteHandler]:
    """Litestar route handlers of the delivery log, for the console."""

    @get(
        "/v1/deliveries",
        summary="List delivered notices, in pages",
        responses={**BAD_REQUEST_RESPONSES, **problem_responses(401, 403)},
        opt=ALLOW_CONSOLE,
    )
    async def list_deliveries(since: Since = DEFAULT_SINCE, after: After = "", limit: Limit = 500) -> DeliveryPage:
        since_at = _parse_since(since)
        position = decode_cursor(after)
        async with context.units.commands() as work:
            # One more than requested shows whether there is a next page.
            found = await work.list_deliveries(since_at, position, limit + 1)
        return _page(found, limit)

    return [list_deliveries]


def _page(found: Sequence[DeliveryEntry], limit: int) -> DeliveryPage:
    entries = tuple(found[:limit])
    has_more = len(found) > limit
    return DeliveryPage(
        entries=entries,
        next=encode_cursor(LogPosition(entries[-1].booking_id, entries[-1].notice)) if has_more else None,
    )


def _parse_since(since: str) -> datetime:
    try:
        instant: datetime = msgspec.convert(since, type=Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError:
        detail = f"{since!r} is not {INSTANT}; write + as %2B"
        fault = FieldError(pointer="since", detail=detail)
        raise Problem(400, "invalid_parameter", f"since: {detail}", errors=[fault]) from None
    return min(max(instant, EARLIEST), LATEST)
