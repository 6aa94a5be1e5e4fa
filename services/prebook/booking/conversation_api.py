"""Booking's internal HTTP API of conversations: which booking or trip a reference of an operator leads to."""

from typing import Annotated

from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from prebook.booking.store import BookingWork
from prebook.contracts.conversations import MAX_CONVERSATIONS, ConversationList
from prebook.http.call_guard import ALLOW_CONSOLE
from prebook.http.problems import problem_responses
from prebook.runtime.service import ServiceContext

Reference = Annotated[
    str, QueryParameter(pattern="^[!-~]{1,255}$", description="id of a booking or trip, or an Idempotency-Key")
]


def conversation_list_route(context: ServiceContext[BookingWork]) -> BaseRouteHandler:
    """Return the route handler, for the console."""

    @get(
        "/v1/conversations",
        summary="Find the conversations of a booking, trip or Idempotency-Key, without riders",
        responses=problem_responses(400, 401, 403),
        opt=ALLOW_CONSOLE,
    )
    async def find_conversations(reference: Reference) -> ConversationList:
        async with context.units.commands() as work:
            return ConversationList(conversations=tuple(await work.find_conversations(reference, MAX_CONVERSATIONS)))

    return find_conversations
