"""Guard of an API for operators: a known host, the same origin, a bearer token, and bodies in JSON only.

Source: RFC 6750, Bearer Token Usage; RFC 9110, 15.5.16.
"""

import hmac
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from litestar import Request, Router
from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope, Send

from prebook.http.bodies import require_json_body
from prebook.http.problems import Problem
from prebook.http.same_origin import check_host, check_origin

OPERATOR_HEADER = "prebook-operator"
"""Name of the person, as the client states it; nothing proves it."""
GUARD_STATUSES = (401, 403, 421)
"""Statuses of the guard's refusals, in addition to 415 for a body that is not JSON."""
STATED_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}\Z")
OperatorTokens = Collection[tuple[str, str]]
"""Names of operators and their tokens, several of an operator during a rotation."""
_OPERATOR_KEY = "prebook_operator"
HOST_REMEDY = "PREBOOK_OPERATOR_HOSTS lists its names"
TOKEN_HINT = "send the token of an operator (PREBOOK_OPERATOR_TOKENS): Authorization: Bearer <token>"  # noqa: S105 - a hint


def guard_operator_routes(
    routes: Sequence[ControllerRouterHandler], tokens: Callable[[], OperatorTokens], hosts: Collection[str]
) -> Router:
    """Return routes behind the guard.

    ``tokens`` returns the active ones; without one every request is refused. ``hosts``: names in lower case,
    without ports, by which operators reach the service.
    """

    def guard(app: ASGIApp) -> ASGIApp:
        async def check(scope: Scope, receive: Receive, send: Send) -> None:
            request: Request[Any, Any, Any] = Request(scope)
            check_host(request.headers.get("host", ""), hosts, HOST_REMEDY)
            check_origin(request.headers.get("origin"), request.headers.get("host", ""))
            name = _authenticate(request.headers.get("authorization", ""), tokens())
            state: dict[str, Any] = scope  # type: ignore[assignment]  # Litestar's scope is a closed TypedDict
            state[_OPERATOR_KEY] = _operator(name, request.headers.get(OPERATOR_HEADER))
            require_json_body(request.method, request.headers.get("content-type", ""))
            await app(scope, receive, send)

        return check

    return Router("/", route_handlers=routes, middleware=[guard])


def operator_of(request: Request[Any, Any, Any]) -> str:
    """Return who made a request that the guard has let pass.

    It is the name that the token belongs to and, if the client states one, a slash and the name of the person.
    """
    scope: dict[str, Any] = request.scope  # type: ignore[assignment]  # Litestar's scope is a closed TypedDict
    operator: str = scope[_OPERATOR_KEY]
    return operator


def _authenticate(authorization: str, tokens: OperatorTokens) -> str:
    scheme, _, given = authorization.partition(" ")
    # Every token is compared, so that the time of the response does not depend on which one matches.
    matches = [name for name, token in tokens if hmac.compare_digest(given.strip().encode(), token.encode())]
    if scheme.lower() != "bearer" or not matches:
        raise Problem(401, "unauthorized", TOKEN_HINT, headers={"www-authenticate": "Bearer"})
    return matches[0]


def _operator(name: str, stated: str | None) -> str:
    if stated is None:
        return name
    if not STATED_NAME.match(stated):
        raise Problem(400, "invalid_operator", f"{OPERATOR_HEADER} must match {STATED_NAME.pattern}")
    return f"{name}/{stated}"
