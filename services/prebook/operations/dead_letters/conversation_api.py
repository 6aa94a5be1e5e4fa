"""Internal HTTP API of dead letters: those of one conversation, for the console."""

from typing import Annotated

from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.params import PathParameter

from prebook.contracts.conversations import MAX_RECORDS, ParkedRecord, ParkedRecords
from prebook.contracts.dead_letters import DeadLetterFilter, DeadLetterState, DeadLetterSummary
from prebook.http.call_guard import ALLOW_CONSOLE
from prebook.http.problems import Problem, problem_responses
from prebook.messaging.codec import SAFE_ID
from prebook.messaging.errors import redact_values
from prebook.operations.dead_letters.api import MAX_ID
from prebook.operations.dead_letters.store import DeadLetterWork
from prebook.runtime.service import ServiceContext

ConversationId = Annotated[str, PathParameter(description="id of a booking or trip")]


def parked_messages_route(context: ServiceContext[DeadLetterWork]) -> BaseRouteHandler:
    """Return the route handler, for the console."""

    @get(
        "/v1/dead-letters/conversations/{conversation_id:str}",
        summary="List the dead letters of a conversation",
        responses=problem_responses(401, 403, 404),
        opt=ALLOW_CONSOLE,
    )
    async def list_parked(conversation_id: ConversationId) -> ParkedRecords:
        if not SAFE_ID.match(conversation_id):
            raise Problem(404, "no_such_conversation", f"the id of a conversation matches {SAFE_ID.pattern}")
        where = DeadLetterFilter(conversation_id=conversation_id)
        async with context.units.commands() as work:
            letters = await work.list_dead_letters(tuple(DeadLetterState), where, MAX_ID, MAX_RECORDS)
        return ParkedRecords(parked=tuple(_record_of(letter) for letter in reversed(letters)))

    return list_parked


def _record_of(letter: DeadLetterSummary) -> ParkedRecord:
    return ParkedRecord(
        id=letter.id,
        message_id=letter.message_id,
        queue=letter.queue,
        state=letter.state,
        cause=letter.cause,
        error=redact_values(letter.error),
        attempts=letter.attempts,
        last_failed_at=letter.last_failed_at,
    )
