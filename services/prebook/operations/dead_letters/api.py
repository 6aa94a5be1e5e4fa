"""Operations' HTTP: parked messages. Looking changes nothing, here or at the broker."""

import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
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
from prebook.http.problems import MEDIA_TYPE, Problem, ProblemDetails
from prebook.operations.store import OperationsWork
from prebook.runtime.service import ServiceContext

MAX_ID = 2**63 - 1
NDJSON = "application/x-ndjson"
EXPORT_PAGE_SIZE, MAX_EDIT_BYTES = 500, 512 * 1024
FilterValue = Annotated[str | None, QueryParameter(min_length=1, max_length=255, pattern="^[ -~]+$")]
States = Annotated[list[DeadLetterState] | None, QueryParameter(description="several: repeat it", max_items=4)]
State = Annotated[DeadLetterState, QueryParameter()]
After = Annotated[int, QueryParameter(ge=0, le=MAX_ID, description="`next` of the page before")]
Limit = Annotated[int, QueryParameter(ge=1, le=1000)]
DeadLetterId = Annotated[int, PathParameter(ge=1, le=MAX_ID)]
OPEN_STATES = (DeadLetterState.PARKED, DeadLetterState.REPLAYING)


def problem_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Their places in the OpenAPI description."""
    return {status: ResponseSpec(ProblemDetails, media_type=MEDIA_TYPE, generate_examples=False) for status in statuses}


def routes(context: ServiceContext[OperationsWork]) -> Sequence[ControllerRouterHandler]:
    """About parked messages; those about replays are in replays_api."""
    return [*read_routes(context), *write_routes(context)]


def read_routes(context: ServiceContext[OperationsWork]) -> Sequence[ControllerRouterHandler]:
    @get("/v1/parked", summary="Parked messages, the newest first, in pages", responses=problem_responses(400))
    async def parked(
        *,
        in_state: States = None,
        group: FilterValue = None,
        cause: FilterValue = None,
        queue: FilterValue = None,
        type: FilterValue = None,  # noqa: A002 - the name of the query parameter
        flow: FilterValue = None,
        conversation: FilterValue = None,
        message_id: FilterValue = None,
        after: After = 0,
        limit: Limit = 100,
    ) -> DeadLetterPage:
        where = DeadLetterFilter(
            failure_group=group,
            cause=cause,
            queue=queue,
            type=type,
            flow=flow,
            conversation_id=conversation,
            message_id=message_id,
        )
        async with context.begin() as work:
            return page_of(
                await work.list_dead_letters(in_state or OPEN_STATES, where, after or MAX_ID, limit + 1), limit
            )

    @get(
        "/v1/parked/groups",
        summary="How many failed in the same way at the same place",
        responses=problem_responses(400),
    )
    async def groups(in_state: State = DeadLetterState.PARKED) -> FailureGroups:
        async with context.begin() as work:
            return await work.list_groups(in_state)

    @get("/v1/parked/export", summary="All about each message, one JSON document a line", media_type=NDJSON)
    async def export() -> Stream:
        return Stream(_export(context), media_type=NDJSON)

    @get("/v1/parked/{parked_id:int}", summary="All about one message", responses=problem_responses(400, 404))
    async def view(parked_id: DeadLetterId) -> DeadLetterView:
        async with context.begin() as work:
            return await _find_or_404(work, parked_id)

    return [parked, groups, export, view]


def write_routes(context: ServiceContext[OperationsWork]) -> Sequence[ControllerRouterHandler]:
    refusals = problem_responses(400, 404, 409, 413, 422)

    @post(
        "/v1/parked/{parked_id:int}/notes",
        dto=StrictBody[NoteRequest],
        return_dto=None,
        summary="Note",
        responses=refusals,
    )
    async def note(parked_id: DeadLetterId, data: Annotated[NoteRequest, Body()]) -> DeadLetterView:
        async with context.begin() as work:
            await work.add_note(parked_id, data.text)
            return await _find_or_404(work, parked_id)

    @post(
        "/v1/parked/{parked_id:int}/versions",
        dto=StrictBody[EditRequest],
        return_dto=None,
        summary="Put a new version beside the message as it came; a replay sends the newest",
        request_max_body_size=MAX_EDIT_BYTES,
        responses=refusals,
    )
    async def edit(parked_id: DeadLetterId, data: Annotated[EditRequest, Body()]) -> DeadLetterView:
        payload = bytes_of(data.payload) if data.payload else None
        async with context.begin() as work:
            found = await _find_or_404(work, parked_id)
            if not await work.edit(parked_id, data.headers, payload, data.reason):
                raise Problem(409, "not_parked", f"it is {found.summary.state}; only what is parked can be edited")
            return await _find_or_404(work, parked_id)

    @post(
        "/v1/discards",
        status_code=200,
        dto=StrictBody[DiscardRequest],
        return_dto=None,
        summary="Set messages aside for good; they stay, and can be restored",
        responses=problem_responses(400, 413, 422),
    )
    async def discard(data: Annotated[DiscardRequest, Body()]) -> ChangedDeadLetters:
        async with context.begin() as work:
            return await work.discard(check_selection(data.selection), data.reason)

    @post(
        "/v1/restores",
        status_code=200,
        dto=StrictBody[RestoreRequest],
        return_dto=None,
        summary="Take discards back",
        responses=problem_responses(400, 413, 422),
    )
    async def restore(data: Annotated[RestoreRequest, Body()]) -> ChangedDeadLetters:
        async with context.begin() as work:
            return await work.restore(check_selection(data.selection))

    return [note, edit, discard, restore]


def check_selection(selection: DeadLetterSelection) -> DeadLetterSelection:
    if (selection.ids is None) == (selection.where is None):
        raise Problem(422, "invalid_body", "selection: give either ids or where; an empty where is all of them")
    return selection


def bytes_of(payload: Payload) -> bytes:
    if (payload.text is None) == (payload.base64 is None):
        raise Problem(422, "invalid_body", "payload: give either text or base64")
    try:
        return (
            payload.text.encode() if payload.text is not None else base64.b64decode(payload.base64 or "", validate=True)
        )
    except (binascii.Error, ValueError) as error:
        raise Problem(422, "invalid_body", f"payload: {error}; send UTF-8 text, or bytes as base64") from None


def page_of(found: Sequence[DeadLetterSummary], limit: int) -> DeadLetterPage:
    """One more than asked for tells whether there is a next page."""
    lines = tuple(found[:limit])
    return DeadLetterPage(dead_letters=lines, next=str(lines[-1].id) if len(found) > limit else None)


async def _find_or_404(work: OperationsWork, dead_letter_id: int) -> DeadLetterView:
    if found := await work.find_dead_letter(dead_letter_id):
        return found
    raise Problem(404, "no_such_message", f"there is no parked message {dead_letter_id}; GET /v1/parked lists them")


async def _export(context: ServiceContext[OperationsWork]) -> AsyncIterator[bytes]:
    """Page by page, so that a slow reader holds no transaction."""
    before = MAX_ID
    while True:
        async with context.begin() as work:
            lines = await work.list_dead_letters(tuple(DeadLetterState), DeadLetterFilter(), before, EXPORT_PAGE_SIZE)
            views = [await work.find_dead_letter(line.id) for line in lines]
        for found in views:
            yield msgspec.json.encode(found) + b"\n"
        if len(lines) < EXPORT_PAGE_SIZE:
            return
        before = lines[-1].id
