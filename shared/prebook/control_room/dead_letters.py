"""Dead letters for the page: operations' own API, called with the console's token."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import Body, PathParameter
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from prebook.contracts.dead_letters import DiscardRequest, EditRequest, FailureGroups, NoteRequest, RestoreRequest
from prebook.contracts.replays import ReplayPage, ReplayRequest
from prebook.control_room.upstream import Upstream
from prebook.http.bodies import StrictBody
from prebook.http.client import limit_exchange
from prebook.http.operator_guard import OPERATOR_HEADER
from prebook.messaging.errors import Unreachable

OPERATOR = "control-room"
"""Name by which operations records what is done from the page."""
REQUEST_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 2.0
MAX_REPLAYS = 10
"""Newest replays that the page shows."""
NDJSON = "application/x-ndjson"
MAX_EDIT_BYTES = 512 * 1024
"""Size of an edited message, as at operations."""
AnyRequest = Request[Any, Any, Any]
Call = Callable[..., Awaitable[Response[bytes]]]
DeadLetterId = Annotated[int, PathParameter(ge=1, description="number of the dead letter")]
ReplayId = Annotated[str, PathParameter(pattern="^[0-9a-f]{12}$", description="id of the replay")]


@dataclass(frozen=True, repr=False)
class OperatorAccess:
    """Base URL of operations' public listener, and the token of an operator, which may be rotated."""

    url: str
    token: Callable[[], str]

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a request."""
        return {"authorization": f"Bearer {self.token()}", OPERATOR_HEADER: OPERATOR}


@dataclass
class DeadLettersSource:
    """Groups of parked messages, and the newest replays."""

    client: httpx.AsyncClient
    operations: OperatorAccess
    name: str = "dead letters"
    interval_s: float = 2.0

    async def read(self) -> Mapping[str, Any]:
        """Return the sections ``failure_groups`` and ``replays``, by their ids. Raises Unreachable."""
        groups = await self._get("/v1/dead-letters/groups", FailureGroups)
        page = await self._get("/v1/replays", ReplayPage)
        return {
            "failure_groups": {group.failure_group: msgspec.to_builtins(group) for group in groups.groups},
            "replays": {replay.id: msgspec.to_builtins(replay) for replay in page.replays[:MAX_REPLAYS]},
        }

    async def _get(self, path: str, response_type: type[Any]) -> Any:
        url = self.operations.url + path
        async with limit_exchange(self.operations.url, READ_TIMEOUT_S):
            response = await self.client.get(url, headers=self.operations.headers)
        if not response.is_success:
            raise Unreachable(f"operations answered {response.status_code} to {path}", reason="unreachable")
        return msgspec.json.decode(response.content, type=response_type)


def dead_letter_routes(client: httpx.AsyncClient, operations: OperatorAccess) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers of dead letters; each passes on the response of operations, refusals included."""

    upstream = Upstream(client, "operations", operations.url, REQUEST_TIMEOUT_S)

    async def call(method: str, path: str, body: msgspec.Struct | None = None) -> Response[bytes]:
        return await upstream.call(method, path, operations.headers, body)

    @get("/v1/dead-letters/export", summary="Export every dead letter in full, one JSON document per line")
    async def export_dead_letters() -> Stream:
        return Stream(_stream_export(client, operations), media_type=NDJSON)

    return [export_dead_letters, *_read_routes(call), *_message_routes(call), *_selection_routes(call)]


def _read_routes(call: Call) -> Sequence[ControllerRouterHandler]:
    @get("/v1/dead-letters", summary="List dead letters; the parameters are those of operations")
    async def list_dead_letters(request: AnyRequest) -> Response[bytes]:
        return await call("GET", _with_query("/v1/dead-letters", request))

    @get("/v1/dead-letters/groups", summary="Count dead letters by cause; the parameters are those of operations")
    async def list_groups(request: AnyRequest) -> Response[bytes]:
        return await call("GET", _with_query("/v1/dead-letters/groups", request))

    @get("/v1/dead-letters/{dead_letter_id:int}", summary="Show one dead letter in full")
    async def get_dead_letter(dead_letter_id: DeadLetterId) -> Response[bytes]:
        return await call("GET", f"/v1/dead-letters/{dead_letter_id}")

    return [list_dead_letters, list_groups, get_dead_letter]


def _message_routes(call: Call) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers that add to one dead letter."""

    @post(
        "/v1/dead-letters/{dead_letter_id:int}/notes",
        summary="Add a note to a dead letter",
        dto=StrictBody[NoteRequest],
        return_dto=None,
    )
    async def add_note(dead_letter_id: DeadLetterId, data: Annotated[NoteRequest, Body()]) -> Response[bytes]:
        return await call("POST", f"/v1/dead-letters/{dead_letter_id}/notes", data)

    @post(
        "/v1/dead-letters/{dead_letter_id:int}/versions",
        summary="Add an edited version, which a replay sends",
        dto=StrictBody[EditRequest],
        return_dto=None,
        request_max_body_size=MAX_EDIT_BYTES,
    )
    async def edit(dead_letter_id: DeadLetterId, data: Annotated[EditRequest, Body()]) -> Response[bytes]:
        return await call("POST", f"/v1/dead-letters/{dead_letter_id}/versions", data)

    return [add_note, edit]


def _selection_routes(call: Call) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers that act on a selection of dead letters, and on a replay."""

    @post(
        "/v1/replays",
        summary="Replay dead letters, or only show what would be sent",
        dto=StrictBody[ReplayRequest],
        return_dto=None,
    )
    async def replay(data: Annotated[ReplayRequest, Body()]) -> Response[bytes]:
        return await call("POST", "/v1/replays", data)

    @delete("/v1/replays/{replay_id:str}", status_code=200, summary="Cancel a replay; messages in flight are awaited")
    async def cancel_replay(replay_id: ReplayId) -> Response[bytes]:
        return await call("DELETE", f"/v1/replays/{replay_id}")

    @post("/v1/discards", summary="Discard dead letters", dto=StrictBody[DiscardRequest], return_dto=None)
    async def discard(data: Annotated[DiscardRequest, Body()]) -> Response[bytes]:
        return await call("POST", "/v1/discards", data)

    @post("/v1/restores", summary="Park discarded dead letters again", dto=StrictBody[RestoreRequest], return_dto=None)
    async def restore(data: Annotated[RestoreRequest, Body()]) -> Response[bytes]:
        return await call("POST", "/v1/restores", data)

    return [replay, cancel_replay, discard, restore]


def _with_query(path: str, request: AnyRequest) -> str:
    """Return the path with the query of the request."""
    query = request.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


async def _stream_export(client: httpx.AsyncClient, operations: OperatorAccess) -> AsyncIterator[bytes]:
    """Yield the export of operations as it comes. It ends early if operations ends; the last line is then cut."""
    url = f"{operations.url}/v1/dead-letters/export"
    async with client.stream("GET", url, headers=operations.headers) as response:
        response.raise_for_status()
        async for chunk in response.aiter_bytes():
            yield chunk
