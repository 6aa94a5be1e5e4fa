"""API of the control room about one conversation.

| request | response |
|---|---|
| ``GET /v1/conversations/{reference}`` | the timeline of a booking or trip, by its id or key, or by a message |
"""

import re
from collections.abc import Sequence
from typing import Annotated

from litestar import get
from litestar.params import PathParameter
from litestar.types import ControllerRouterHandler

from prebook.control_room.conversations import (
    AmbiguousReference,
    ConversationReader,
    ConversationTimeline,
    UnknownReference,
)
from prebook.http.problems import Problem
from prebook.messaging.errors import Unreachable

REFERENCE = re.compile(r"[!-~]{1,255}\Z")
"""Form of an Idempotency-Key; ids are shorter and plainer."""
UNKNOWN_REMEDY = "give the id of a booking or trip, its Idempotency-Key, or the id of one of its messages"
AMBIGUOUS_REMEDY = "several riders have used this Idempotency-Key; give one of these ids"
# A path, because Idempotency-Keys may contain slashes.
Reference = Annotated[str, PathParameter(description="id of a booking, trip or message, or an Idempotency-Key")]


def conversation_routes(reader: ConversationReader) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers."""

    @get("/v1/conversations/{reference:path}", summary="Get the timeline of a booking or trip")
    async def get_conversation(reference: Reference) -> ConversationTimeline:
        try:
            return await reader.read(_checked(reference.removeprefix("/")))
        except UnknownReference as error:
            raise Problem(404, "no_such_conversation", f"nothing is known of {error}; {UNKNOWN_REMEDY}") from None
        except AmbiguousReference as error:
            raise Problem(409, "ambiguous_reference", f"{AMBIGUOUS_REMEDY}: {error}") from None
        except Unreachable as error:
            detail = f"{error}; the section on processes shows the state of booking"
            raise Problem(502, "booking_unreachable", detail) from error

    return [get_conversation]


def _checked(reference: str) -> str:
    if not REFERENCE.match(reference):
        raise Problem(404, "no_such_conversation", UNKNOWN_REMEDY)
    return reference
