"""The control room's web application: the page, its files, and the API that the page and commands share.

| request | response |
|---|---|
| ``GET /?token=`` | opens a session by a one-time token and redirects to the page |
| ``GET /`` | the page; without a session, how to get one |
| ``GET /assets/{name}`` | a file of the page |
| ``POST /v1/tokens`` | a URL with a new one-time token |

The routes that the application is given come in addition. All but the first two need the cookie of a session, or the
control token: ``Authorization: Bearer <token>``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import PathParameter, QueryParameter
from litestar.types import ASGIApp, ControllerRouterHandler

from prebook.control_room.assets import PAGE, Asset, read_assets
from prebook.control_room.guard import SESSION_REMEDY, Access, check_sender, guard_routes
from prebook.control_room.response_headers import with_security_headers
from prebook.control_room.sessions import SESSION_LIFETIME_S, Sessions
from prebook.http.app import create_app
from prebook.http.problems import Problem

AnyRequest = Request[Any, Any, Any]
Token = Annotated[str, QueryParameter(max_length=128, description="one-time token")]
AssetName = Annotated[str, PathParameter(description="name of a file of the page")]


class PageUrl(msgspec.Struct, frozen=True):
    """Response of ``POST /v1/tokens``: the page's URL, which opens one session."""

    url: str


@dataclass(frozen=True)
class PageAddress:
    """Base URL of the page as browsers reach it, and its port there, which names the cookie."""

    base_url: str
    port: int

    @property
    def cookie(self) -> str:
        """Name of the session's cookie; browsers send it to every port of this machine, so it names its own."""
        return f"prebook_console_{self.port}"

    def with_token(self, token: str) -> str:
        """Return the URL that opens a session."""
        return f"{self.base_url}/?token={token}"


def create_control_room(
    address: PageAddress, sessions: Sessions, control_token_sha256: str, routes: Sequence[ControllerRouterHandler] = ()
) -> ASGIApp:
    """Create the application. ``routes`` are served behind the guard, next to the application's own."""
    access = Access(sessions, control_token_sha256, address.cookie)
    api = guard_routes([_token_route(address, sessions), _asset_route(read_assets()), *routes], access)
    return with_security_headers(_create_app([_page_route(address, access), api]))


def _create_app(routes: Sequence[ControllerRouterHandler]) -> Litestar:
    return create_app("control room", routes, missing_dependencies=_depend_on_nothing)


async def _depend_on_nothing() -> Mapping[str, str]:
    """Return no missing dependency: the page shows what the suite lacks."""
    return {}


def _page_route(address: PageAddress, access: Access) -> ControllerRouterHandler:
    page = read_assets()[PAGE]

    @get("/", include_in_schema=False)
    async def show_page(request: AnyRequest, token: Token = "") -> Response[bytes]:
        check_sender(request)
        if token and (session := access.sessions.open_session(token)):
            return _redirect_with(session)
        if access.has_session(request):
            return Response(page.content, media_type=page.media_type)
        return _refusal_page("This link was used or has expired." if token else "This browser has no session here.")

    def _redirect_with(session: str) -> Response[bytes]:
        cookie = Cookie(
            key=address.cookie, value=session, max_age=int(SESSION_LIFETIME_S), httponly=True, samesite="strict"
        )
        return Response(b"", status_code=HTTPStatus.SEE_OTHER, headers={"location": "/"}, cookies=[cookie])

    return show_page


def _refusal_page(reason: str) -> Response[bytes]:
    """Return a page for people; it has no script and no style."""
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Prebook control room</title>'
        f"<h1>Prebook control room</h1><p>{reason} To get in, {SESSION_REMEDY}.</p></html>"
    )
    return Response(text.encode(), status_code=HTTPStatus.UNAUTHORIZED, media_type="text/html")


def _asset_route(assets: Mapping[str, Asset]) -> ControllerRouterHandler:
    @get("/assets/{name:str}", include_in_schema=False)
    async def get_asset(name: AssetName) -> Response[bytes]:
        asset = assets.get(name)
        if asset is None:
            raise Problem(404, "no_such_asset", "the page has no such file; reload it")
        return Response(asset.content, media_type=asset.media_type)

    return get_asset


def _token_route(address: PageAddress, sessions: Sessions) -> ControllerRouterHandler:
    @post("/v1/tokens", summary="Create a URL that opens one session of the page")
    async def create_token() -> PageUrl:
        return PageUrl(address.with_token(sessions.issue_token()))

    return create_token
