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
    Changed,
    DiscardRequest,
    EditRequest,
    Filter,
    Groups,
    NoteRequest,
    ParkedLine,
    ParkedPage,
    ParkedState,
    ParkedView,
    Payload,
    RestoreRequest,
    Selection,
)
from prebook.http.bodies import Strict
from prebook.http.problems import MEDIA_TYPE, Problem, ProblemDetails
from prebook.operations.store import OperationsWork
from prebook.runtime.service import Running

LAST = 2**63 - 1
NDJSON = "application/x-ndjson"
PAGE, LARGEST_EDIT = 500, 512 * 1024
Value = Annotated[str | None, QueryParameter(min_length=1, max_length=255, pattern="^[ -~]+$")]
States = Annotated[list[ParkedState] | None, QueryParameter(description="several: repeat it", max_items=4)]
State = Annotated[ParkedState, QueryParameter()]
After = Annotated[int, QueryParameter(ge=0, le=LAST, description="`next` of the page before")]
Limit = Annotated[int, QueryParameter(ge=1, le=1000)]
ParkedId = Annotated[int, PathParameter(ge=1, le=LAST)]
OPEN = (ParkedState.PARKED, ParkedState.REPLAYING)


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Their places in the OpenAPI description."""
    return {status: ResponseSpec(ProblemDetails, media_type=MEDIA_TYPE, generate_examples=False) for status in statuses}


def routes(running: Running[OperationsWork]) -> Sequence[ControllerRouterHandler]:
    """About parked messages; those about replays are in replays_api."""
    return [*looking(running), *acting(running)]


def looking(running: Running[OperationsWork]) -> Sequence[ControllerRouterHandler]:
    @get("/v1/parked", summary="Parked messages, the newest first, in pages", responses=problems(400))
    async def parked(
        *,
        in_state: States = None,
        group: Value = None,
        cause: Value = None,
        queue: Value = None,
        type: Value = None,  # noqa: A002 - the name of the query parameter
        flow: Value = None,
        conversation: Value = None,
        message_id: Value = None,
        after: After = 0,
        limit: Limit = 100,
    ) -> ParkedPage:
        where = Filter(
            group=group,
            cause=cause,
            queue=queue,
            type=type,
            flow=flow,
            conversation=conversation,
            message_id=message_id,
        )
        async with running.begin() as work:
            return page(await work.lines(in_state or OPEN, where, after or LAST, limit + 1), limit)

    @get("/v1/parked/groups", summary="How many failed in the same way at the same place", responses=problems(400))
    async def groups(in_state: State = ParkedState.PARKED) -> Groups:
        async with running.begin() as work:
            return await work.groups(in_state)

    @get("/v1/parked/export", summary="All about each message, one JSON document a line", media_type=NDJSON)
    async def export() -> Stream:
        return Stream(_exported(running), media_type=NDJSON)

    @get("/v1/parked/{parked_id:int}", summary="All about one message", responses=problems(400, 404))
    async def view(parked_id: ParkedId) -> ParkedView:
        async with running.begin() as work:
            return await _known(work, parked_id)

    return [parked, groups, export, view]


def acting(running: Running[OperationsWork]) -> Sequence[ControllerRouterHandler]:
    refusals = problems(400, 404, 409, 413, 422)

    @post(
        "/v1/parked/{parked_id:int}/notes", dto=Strict[NoteRequest], return_dto=None, summary="Note", responses=refusals
    )
    async def note(parked_id: ParkedId, data: Annotated[NoteRequest, Body()]) -> ParkedView:
        async with running.begin() as work:
            await work.note(parked_id, data.text)
            return await _known(work, parked_id)

    @post(
        "/v1/parked/{parked_id:int}/versions",
        dto=Strict[EditRequest],
        return_dto=None,
        summary="Put a new version beside the message as it came; a replay sends the newest",
        request_max_body_size=LARGEST_EDIT,
        responses=refusals,
    )
    async def edit(parked_id: ParkedId, data: Annotated[EditRequest, Body()]) -> ParkedView:
        payload = bytes_of(data.payload) if data.payload else None
        async with running.begin() as work:
            found = await _known(work, parked_id)
            if not await work.edit(parked_id, data.headers, payload, data.reason):
                raise Problem(409, "not_parked", f"it is {found.line.state}; only what is parked can be edited")
            return await _known(work, parked_id)

    @post(
        "/v1/discards",
        status_code=200,
        dto=Strict[DiscardRequest],
        return_dto=None,
        summary="Set messages aside for good; they stay, and can be restored",
        responses=problems(400, 413, 422),
    )
    async def discard(data: Annotated[DiscardRequest, Body()]) -> Changed:
        async with running.begin() as work:
            return await work.discard(chosen(data.selection), data.reason)

    @post(
        "/v1/restores",
        status_code=200,
        dto=Strict[RestoreRequest],
        return_dto=None,
        summary="Take discards back",
        responses=problems(400, 413, 422),
    )
    async def restore(data: Annotated[RestoreRequest, Body()]) -> Changed:
        async with running.begin() as work:
            return await work.restore(chosen(data.selection))

    return [note, edit, discard, restore]


def chosen(selection: Selection) -> Selection:
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


def page(found: Sequence[ParkedLine], limit: int) -> ParkedPage:
    """One more than asked for tells whether there is a next page."""
    lines = tuple(found[:limit])
    return ParkedPage(lines=lines, next=str(lines[-1].id) if len(found) > limit else None)


async def _known(work: OperationsWork, parked_id: int) -> ParkedView:
    if found := await work.view(parked_id):
        return found
    raise Problem(404, "no_such_message", f"there is no parked message {parked_id}; GET /v1/parked lists them")


async def _exported(running: Running[OperationsWork]) -> AsyncIterator[bytes]:
    """Page by page, so that a slow reader holds no transaction."""
    before = LAST
    while True:
        async with running.begin() as work:
            lines = await work.lines(tuple(ParkedState), Filter(), before, PAGE)
            views = [await work.view(line.id) for line in lines]
        for found in views:
            yield msgspec.json.encode(found) + b"\n"
        if len(lines) < PAGE:
            return
        before = lines[-1].id
