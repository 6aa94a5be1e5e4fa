"""Guard of internal endpoints: every call is signed, by a caller that the endpoint allows, with a known media type."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from litestar import Request, Router
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from prebook.flows import CONSOLE
from prebook.http.bodies import require_json_body, require_message_body
from prebook.http.problems import Problem
from prebook.messaging.clock import unix_s
from prebook.patterns.call_signature import CallerKeys, CallRefusal, UnauthenticCall, read_claim

AllowedCallers = Callable[[Mapping[str, Any]], Collection[str]]
"""Returns the callers that an endpoint allows, given the parameters of its path. Raises Problem where it has none."""
_ALLOWED_CALLERS = "allowed_callers"
_ANY_FORMAT = "any_format"
_CALLER_KEY = "prebook_caller"


def allow_callers(allowed: AllowedCallers) -> dict[str, AllowedCallers]:
    """Return the ``opt`` of a route handler that only these callers may call."""
    return {_ALLOWED_CALLERS: allowed}


ALLOW_CONSOLE = allow_callers(lambda _: (CONSOLE,))
"""The ``opt`` of a route handler that only the console may call."""

ACCEPT_ANY_FORMAT = {_ANY_FORMAT: True}
"""The ``opt`` of a route handler that decodes messages by their content type."""


def guarded_routes(
    routes: Sequence[BaseRouteHandler], keys: Callable[[], CallerKeys], on_refused: Callable[[CallRefusal], None]
) -> Router:
    """Return internal routes behind the guard.

    ``keys`` returns the active keys of each caller; ``on_refused`` counts refusals. Raises ValueError if a route does
    not declare its callers with ``allow_callers``.
    """
    undeclared = [path for route in routes if _ALLOWED_CALLERS not in route.opt for path in sorted(route.paths)]
    if undeclared:
        raise ValueError(f"{', '.join(undeclared)}: declare who may call, with allow_callers")

    def guard(app: ASGIApp) -> ASGIApp:
        async def check(scope: Scope, receive: Receive, send: Send) -> None:
            request: Request[Any, Any, Any] = Request(scope, receive, send)
            try:
                caller = await _authenticate(request, keys())
            except UnauthenticCall as error:
                on_refused(error.reason)
                raise Problem(401, "invalid_signature", f"{error}; sign the call as docs/guide.md describes") from None
            # Litestar's own handler of OPTIONS declares no callers; it lists the methods of the path.
            is_listing = request.method == "OPTIONS"
            if not is_listing and caller not in request.route_handler.opt[_ALLOWED_CALLERS](request.path_params):
                on_refused(CallRefusal.NOT_ALLOWED)
                raise Problem(403, "caller_not_allowed", f"{caller} may not call {scope['path']}")
            require = require_message_body if request.route_handler.opt.get(_ANY_FORMAT) else require_json_body
            require(request.method, request.headers.get("content-type", ""))
            await app(scope, receive, send)

        return check

    return Router("/", route_handlers=routes, middleware=[guard])


async def _authenticate(request: Request[Any, Any, Any], keys: CallerKeys) -> str:
    scope = request.scope
    claim = read_claim(keys, list(scope["headers"]), now_s=unix_s())
    query = scope["query_string"]
    target = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
    # Litestar keeps the body with the connection, so that the handler can read it again.
    return claim.verify(scope["method"], target.decode("latin-1"), await request.body())
