"""Dead letters for the page: operations' own API, called with the console's token."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import msgspec
from litestar import Request, Response, get, post
from litestar.params import Body, PathParameter
from litestar.types import ControllerRouterHandler

from prebook.contracts.dead_letters import DiscardRequest, FailureGroups, RestoreRequest
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
AnyRequest = Request[Any, Any, Any]
DeadLetterId = Annotated[int, PathParameter(ge=1, description="number of the dead letter")]


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


MAX_REPLAYS = 10
"""Newest replays that the page shows."""


def dead_letter_routes(client: httpx.AsyncClient, operations: OperatorAccess) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers of dead letters; each passes on the response of operations, refusals included."""

    upstream = Upstream(client, "operations", operations.url, REQUEST_TIMEOUT_S)

    async def call(method: str, path: str, body: msgspec.Struct | None = None) -> Response[bytes]:
        return await upstream.call(method, path, operations.headers, body)

    @get("/v1/dead-letters", summary="List dead letters; the parameters are those of operations")
    async def list_dead_letters(request: AnyRequest) -> Response[bytes]:
        query = request.scope["query_string"].decode("latin-1")
        return await call("GET", f"/v1/dead-letters?{query}" if query else "/v1/dead-letters")

    @get("/v1/dead-letters/{dead_letter_id:int}", summary="Show one dead letter in full")
    async def get_dead_letter(dead_letter_id: DeadLetterId) -> Response[bytes]:
        return await call("GET", f"/v1/dead-letters/{dead_letter_id}")

    @post(
        "/v1/replays",
        summary="Replay dead letters, or only show what would be sent",
        dto=StrictBody[ReplayRequest],
        return_dto=None,
    )
    async def replay(data: Annotated[ReplayRequest, Body()]) -> Response[bytes]:
        return await call("POST", "/v1/replays", data)

    @post("/v1/discards", summary="Discard dead letters", dto=StrictBody[DiscardRequest], return_dto=None)
    async def discard(data: Annotated[DiscardRequest, Body()]) -> Response[bytes]:
        return await call("POST", "/v1/discards", data)

    @post("/v1/restores", summary="Park discarded dead letters again", dto=StrictBody[RestoreRequest], return_dto=None)
    async def restore(data: Annotated[RestoreRequest, Body()]) -> Response[bytes]:
        return await call("POST", "/v1/restores", data)

    return [list_dead_letters, get_dead_letter, replay, discard, restore]
