"""HTTP API for dead letters. Reading changes nothing, here or at the broker."""

import base64
import binascii
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.params import Body, PathParameter, QueryParameter
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from prebook.contracts.dead_letters import (
    ChangedDeadLetters,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterSelection,
    DeadLetterState,
    DeadLetterSummary,
    DeadLetterView,
    DiscardRequest,
    EditRequest,
    FailureGroups,
    NoteRequest,
    Payload,
    RestoreRequest,
)
from prebook.http.bodies import StrictBody
from prebook.http.operator_guard import GUARD_STATUSES, operator_of
from prebook.http.problems import Problem, found_or_404, problem_responses
from prebook.operations.dead_letters.store import DeadLetterWork
from prebook.runtime.service import ServiceContext

AnyRequest = Request[Any, Any, Any]
MAX_ID = 2**63 - 1
NDJSON = "application/x-ndjson"
EXPORT_PAGE_SIZE = 500
MAX_EDIT_BYTES = 512 * 1024
FilterValue = Annotated[str | None, QueryParameter(min_length=1, max_length=255, pattern="^[ -~]+$")]
States = Annotated[list[DeadLetterState] | None, QueryParameter(description="repeat for several states", max_items=4)]
State = Annotated[DeadLetterState, QueryParameter()]
After = Annotated[int, QueryParameter(ge=0, le=MAX_ID, description="`next` of the previous page")]
Limit = Annotated[int, QueryParameter(ge=1, le=1000)]
DeadLetterId = Annotated[int, PathParameter(ge=1, le=MAX_ID)]
OPEN_STATES = (DeadLetterState.PARKED, DeadLetterState.REPLAYING)


def routes(context: ServiceContext[DeadLetterWork]) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers for dead letters."""
    return [*_list_routes(context), *_read_routes(context), *_edit_routes(context), *_bulk_routes(context)]


def _list_routes(context: ServiceContext[DeadLetterWork]) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers for summaries of dead letters and for groups of them."""

    @get(
        "/v1/dead-letters",
        summary="List dead letters, newest first, in pages",
        responses=problem_responses(400, *GUARD_STATUSES),
    )
    async def list_dead_letters(
        *,
        in_state: States = None,
        failure_group: FilterValue = None,
        cause: FilterValue = None,
        queue: FilterValue = None,
        type: FilterValue = None,  # noqa: A002 - the name of the query parameter
        flow: FilterValue = None,
        conversation_id: FilterValue = None,
        message_id: FilterValue = None,
        after: After = 0,
        limit: Limit = 100,
    ) -> DeadLetterPage:
        where = DeadLetterFilter(
            failure_group=failure_group,
            cause=cause,
            queue=queue,
            type=type,
            flow=flow,
            conversation_id=conversation_id,
            message_id=message_id,
        )
        async with context.units.commands() as work:
            return page_of(
                await work.list_dead_letters(in_state or OPEN_STATES, where, after or MAX_ID, limit + 1), limit
            )

    @get(
        "/v1/dead-letters/groups",
        summary="Count the dead letters that failed in the same way at the same place",
        responses=problem_responses(400, *GUARD_STATUSES),
    )
    async def list_groups(in_state: State = DeadLetterState.PARKED) -> FailureGroups:
        async with context.units.commands() as work:
            return await work.list_groups(in_state)

    return [list_dead_letters, list_groups]


def _read_routes(context: ServiceContext[DeadLetterWork]) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers for dead letters in full."""

    @get(
        "/v1/dead-letters/export",
        summary="Export every dead letter in full, one JSON document per line",
        media_type=NDJSON,
        responses=problem_responses(*GUARD_STATUSES),
    )
    async def export_dead_letters() -> Stream:
        return Stream(stream_dead_letters(context.units.commands), media_type=NDJSON)

    @get(
        "/v1/dead-letters/{dead_letter_id:int}",
        summary="Show one dead letter in full",
        responses=problem_responses(400, 404, *GUARD_STATUSES),
    )
    async def get_dead_letter(dead_letter_id: DeadLetterId) -> DeadLetterView:
        async with context.units.commands() as work:
            return await _find(work, dead_letter_id)

    return [export_dead_letters, get_dead_letter]


def _edit_routes(context: ServiceContext[DeadLetterWork]) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers that add to one dead letter."""
    refusals = problem_responses(400, 404, 409, 413, 415, 422, *GUARD_STATUSES)

    @post(
        "/v1/dead-letters/{dead_letter_id:int}/notes",
        dto=StrictBody[NoteRequest],
        return_dto=None,
        summary="Add a note to a dead letter",
        responses=refusals,
    )
    async def add_note(
        request: AnyRequest, dead_letter_id: DeadLetterId, data: Annotated[NoteRequest, Body()]
    ) -> DeadLetterView:
        async with context.units.commands() as work:
            await work.add_note(dead_letter_id, data.text, operator=operator_of(request))
            return await _find(work, dead_letter_id)

    @post(
        "/v1/dead-letters/{dead_letter_id:int}/versions",
        dto=StrictBody[EditRequest],
        return_dto=None,
        summary="Add an edited version; a replay sends the newest, and the original is kept",
        request_max_body_size=MAX_EDIT_BYTES,
        responses=refusals,
    )
    async def edit(
        request: AnyRequest, dead_letter_id: DeadLetterId, data: Annotated[EditRequest, Body()]
    ) -> DeadLetterView:
        payload = bytes_of(data.payload) if data.payload else None
        async with context.units.commands() as work:
            found = await _find(work, dead_letter_id)
            operator = operator_of(request)
            if not await work.edit(dead_letter_id, data.headers, payload, data.reason, operator=operator):
                raise Problem(409, "not_parked", f"it is {found.summary.state}; only parked ones can be edited")
            return await _find(work, dead_letter_id)

    return [add_note, edit]


def _bulk_routes(context: ServiceContext[DeadLetterWork]) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers that change the state of a selection of dead letters."""
    refusals = problem_responses(400, 413, 415, 422, *GUARD_STATUSES)

    @post(
        "/v1/discards",
        status_code=200,
        dto=StrictBody[DiscardRequest],
        return_dto=None,
        summary="Discard dead letters; they are kept and can be restored",
        responses=refusals,
    )
    async def discard(request: AnyRequest, data: Annotated[DiscardRequest, Body()]) -> ChangedDeadLetters:
        async with context.units.commands() as work:
            selection = check_selection(data.selection)
            return await work.discard(selection, data.reason, operator=operator_of(request))

    @post(
        "/v1/restores",
        status_code=200,
        dto=StrictBody[RestoreRequest],
        return_dto=None,
        summary="Restore discarded dead letters",
        responses=refusals,
    )
    async def restore(request: AnyRequest, data: Annotated[RestoreRequest, Body()]) -> ChangedDeadLetters:
        async with context.units.commands() as work:
            return await work.restore(check_selection(data.selection), operator=operator_of(request))

    return [discard, restore]


def check_selection(selection: DeadLetterSelection) -> DeadLetterSelection:
    """Return ``selection``. Raises Problem unless it has either ids or a filter."""
    if (selection.ids is None) == (selection.where is None):
        raise Problem(422, "invalid_body", "selection: give either ids or where; an empty where selects all")
    return selection


def bytes_of(payload: Payload) -> bytes:
    """Return the bytes of ``payload``. Raises Problem if it has both forms, none, or invalid base64."""
    if (payload.text is None) == (payload.base64 is None):
        raise Problem(422, "invalid_body", "payload: give either text or base64")
    try:
        return (
            payload.text.encode() if payload.text is not None else base64.b64decode(payload.base64 or "", validate=True)
        )
    except (binascii.Error, ValueError) as error:
        raise Problem(422, "invalid_body", f"payload: {error}; send UTF-8 text, or bytes as base64") from None


def page_of(found: Sequence[DeadLetterSummary], limit: int) -> DeadLetterPage:
    """Return a page of ``limit`` dead letters; ``found`` has one more if there is a next page."""
    summaries = tuple(found[:limit])
    return DeadLetterPage(dead_letters=summaries, next=str(summaries[-1].id) if len(found) > limit else None)


async def _find(work: DeadLetterWork, dead_letter_id: int) -> DeadLetterView:
    """Return the dead letter in full. Raises Problem if there is none with this id."""
    found = await work.find_dead_letter(dead_letter_id)
    detail = f"there is no dead letter {dead_letter_id}; GET /v1/dead-letters lists them"
    return found_or_404(found, "dead_letter_not_found", detail)


async def stream_dead_letters(
    begin: Callable[[], AbstractAsyncContextManager[DeadLetterWork]],
) -> AsyncIterator[bytes]:
    """Yield every dead letter as a line of JSON, newest first.

    Each one is read in its own transaction, so that a slow client holds none open and one payload is in memory.
    """
    before = MAX_ID
    while True:
        async with begin() as work:
            summaries = await work.list_dead_letters(
                tuple(DeadLetterState), DeadLetterFilter(), before, EXPORT_PAGE_SIZE
            )
        for summary in summaries:
            async with begin() as work:
                found = await work.find_dead_letter(summary.id)
            if found is not None:  # it may have been deleted since it was listed
                yield msgspec.json.encode(found) + b"\n"
        if len(summaries) < EXPORT_PAGE_SIZE:
            return
        before = summaries[-1].id
