"""Guard of the control room: a known host, the same origin, an open session or the control token, and bodies in JSON.

Cookies do not know ports: every server on this machine gets the cookie of the page that a browser loads from it. The
session is therefore worth nothing without the ``Origin`` of the page itself on every request that changes something.

Source: OWASP, "Cross-Site Request Forgery Prevention"; RFC 6265, 8.5, Weak Confidentiality.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from litestar import Request, Router
from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope, Send

from prebook.control_room.sessions import Sessions
from prebook.devstack.supervisor.control_api import BEARER, token_digest
from prebook.http.bodies import require_json_body
from prebook.http.problems import Problem
from prebook.http.same_origin import check_host, check_origin

HOSTS = frozenset({"127.0.0.1", "localhost"})
"""Names by which a browser on this machine reaches the page."""
HOST_REMEDY = "open the page at 127.0.0.1, as `prebook url` prints it"
SESSION_REMEDY = "open the URL that `prebook url` prints"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Access:
    """Open sessions of browsers, their cookie, and the digest of the token by which commands use the same API."""

    sessions: Sessions
    control_token_sha256: str
    cookie: str

    def check(self, request: Request[Any, Any, Any]) -> None:
        """Raise Problem (401 or 403) unless the request has the control token, or comes from the page of a session."""
        authorization = request.headers.get("authorization", "")
        if authorization:
            if not (authorization.startswith(BEARER) and self._is_control_token(authorization.removeprefix(BEARER))):
                raise Problem(401, "unauthorized", "send the control token of this run: Authorization: Bearer <token>")
            return
        if not self.has_session(request):
            raise Problem(401, "no_session", f"this browser has no session here; {SESSION_REMEDY}")
        if request.method not in SAFE_METHODS and "origin" not in request.headers:
            raise Problem(403, "origin_missing", "a change needs the Origin header, which browsers send by themselves")

    def has_session(self, request: Request[Any, Any, Any]) -> bool:
        """Return whether the cookie of the request is that of an open session."""
        return self.sessions.is_open(request.cookies.get(self.cookie, ""))

    def _is_control_token(self, token: str) -> bool:
        return hmac.compare_digest(token_digest(token), self.control_token_sha256)


def guard_routes(routes: Sequence[ControllerRouterHandler], access: Access) -> Router:
    """Return routes behind all checks."""

    def guard(app: ASGIApp) -> ASGIApp:
        async def check(scope: Scope, receive: Receive, send: Send) -> None:
            request: Request[Any, Any, Any] = Request(scope)
            check_sender(request)
            access.check(request)
            require_json_body(request.method, request.headers.get("content-type", ""))
            await app(scope, receive, send)

        return check

    return Router("/", route_handlers=routes, middleware=[guard])


def check_sender(request: Request[Any, Any, Any]) -> None:
    """Raise Problem (421 or 403) for another host's name, or a page of another origin."""
    host = request.headers.get("host", "")
    check_host(host, HOSTS, HOST_REMEDY)
    check_origin(request.headers.get("origin"), host)
