"""Internal HTTP endpoint of every service: what it has recorded of one conversation, for the console."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.params import PathParameter

from prebook.contracts.conversations import ConversationRecords
from prebook.http.call_guard import ALLOW_CONSOLE
from prebook.http.problems import Problem
from prebook.messaging.codec import SAFE_ID

ReadConversation = Callable[[str], Awaitable[ConversationRecords]]
"""Reads the records of a conversation, none for an unknown one. Raises Unreachable."""
ConversationId = Annotated[str, PathParameter(description="id of a booking or trip")]


def conversation_route(read_conversation: ReadConversation) -> BaseRouteHandler:
    """Return the route handler, which only the console may call."""

    @get("/v1/conversations/{conversation_id:str}", include_in_schema=False, opt=ALLOW_CONSOLE)
    async def get_conversation(conversation_id: ConversationId) -> ConversationRecords:
        if not SAFE_ID.match(conversation_id):
            raise Problem(404, "no_such_conversation", f"the id of a conversation matches {SAFE_ID.pattern}")
        return await read_conversation(conversation_id)

    return get_conversation
