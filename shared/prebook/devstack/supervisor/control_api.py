"""The supervisor's HTTP API. It injects faults from outside of the services, which have no code for them.

| request | effect |
|---|---|
| ``GET /processes`` | a list of ProcessInfo |
| ``POST /processes/{name}/kill`` Kill | SIGKILL; kept down for ``down_s`` |
| ``POST /processes/{name}/brownout`` Brownout | stopped and continued in turn for ``duration_s`` |
| ``POST /processes/{name}/skew`` ClockSkew | orderly restart with a clock that is ``skew_s`` ahead |
| ``POST /processes/{name}/crash_message`` CrashMessage | orderly restart; then a crash at each receipt of a message |
| ``POST /processes/{name}/pause`` | stopped until ``resume`` |
| ``POST /processes/{name}/resume`` | continued; ends a pause or a brownout |
| ``GET /servers`` | a list of ServerInfo: broker nodes and database, where the supervisor runs them |
| ``POST /servers/{name}/restart`` Restart | SIGKILL or orderly stop; down for ``down_s``; back with the same data |
| ``POST /servers/broker/alarm`` MemoryAlarm | memory alarm for ``duration_s``: publishers are blocked |
| ``POST /servers/database/read_only`` (or ``locked``) WritePrevention | cannot write for ``duration_s`` |
| ``GET /proxies`` | a list of ProxyInfo; empty where the suite was started without fault proxies |
| ``POST /proxies/{name}/slow`` (or ``cut``, ``black_hole``, ``response_loss``) ProxyFault | see ProxyState |

The response to a fault is immediate and states the effect; it does not wait for the recovery. Faults with a duration
undo themselves, also when the suite stops.

Every request needs ``Authorization: Bearer <token>``. The API knows the token's digest only, so that a service of the
same user, which may read whatever its supervisor reads, cannot learn it. Errors are ``application/problem+json``, and
connections have the limits of every server.
"""

import contextlib
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import PathParameter
from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope, Send

from prebook.devstack.errors import UserError
from prebook.devstack.proxies.proxy import FaultProxy
from prebook.devstack.supervisor.contract import NotRunning
from prebook.devstack.supervisor.faults import FaultTargets, process_targets, proxy_targets, server_targets
from prebook.devstack.supervisor.server import SupervisedServer
from prebook.devstack.supervisor.supervisor import Supervisor
from prebook.http.bodies import require_json
from prebook.http.embedded_server import serve_embedded
from prebook.http.http_methods import HttpMethodsApp
from prebook.http.problems import EXCEPTION_HANDLERS, Problem
from prebook.http.repeated_headers import refuse_repeated_headers

MAX_BODY_BYTES = 4096
TOKEN_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
BEARER = "Bearer "
TOKEN_HINT = "send the token of this run: Authorization: Bearer <token>"  # noqa: S105 - a hint
NO_SERVERS: Mapping[str, SupervisedServer] = {}
NO_PROXIES: Mapping[str, FaultProxy] = {}
AnyRequest = Request[Any, Any, Any]
TargetName = Annotated[str, PathParameter(description="name of the target")]
FaultName = Annotated[str, PathParameter(description="name of the fault")]


def create_control_app(
    supervisor: Supervisor,
    token_sha256: str,
    servers: Mapping[str, SupervisedServer] = NO_SERVERS,
    proxies: Mapping[str, FaultProxy] = NO_PROXIES,
) -> ASGIApp:
    """Create the application for services, servers and fault proxies.

    ``token_sha256``: ``token_digest`` of the clients' token. Raises ValueError if it is no digest.
    """
    if not TOKEN_DIGEST.match(token_sha256):
        raise ValueError("the control API needs the SHA-256 of a token, as 64 hexadecimal digits")
    kinds = (process_targets(supervisor.processes), server_targets(servers), proxy_targets(proxies))
    return HttpMethodsApp(
        [_guard_routes([route for kind in kinds for route in _routes(kind)], token_sha256)],
        exception_handlers=EXCEPTION_HANDLERS,
        middleware=[refuse_repeated_headers],
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
        openapi_config=None,
    )


def token_digest(token: str) -> str:
    """Return the SHA-256 of a token, as hexadecimal digits."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


@contextlib.asynccontextmanager
async def serve_control_api(app: ASGIApp, host: str, port: int) -> AsyncIterator[None]:
    """Serve the application while the block runs. Raises UserError if the port is taken."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(serve_embedded(app, host, port))
        except OSError as error:
            remedy = "choose another port with --control-port or --port-base"
            raise UserError(f"the control API cannot listen on {host}:{port}: {error.strerror}", remedy) from error
        yield


def _guard_routes(routes: Sequence[ControllerRouterHandler], token_sha256: str) -> Router:
    """Return routes that only holders of the token may use."""

    def guard(app: ASGIApp) -> ASGIApp:
        async def check(scope: Scope, receive: Receive, send: Send) -> None:
            given = Request[Any, Any, Any](scope).headers.get("authorization", "")
            is_known = hmac.compare_digest(token_digest(given.removeprefix(BEARER)), token_sha256)
            if not (given.startswith(BEARER) and is_known):
                raise Problem(401, "unauthorized", TOKEN_HINT, headers={"www-authenticate": "Bearer"})
            await app(scope, receive, send)

        return check

    return Router("/", route_handlers=routes, middleware=[guard])


def _routes(targets: FaultTargets) -> Sequence[ControllerRouterHandler]:
    @get(f"/{targets.name}")
    async def list_targets() -> Response[bytes]:
        return _json_response([target.info() for target in targets.targets.values()])

    @post(f"/{targets.name}/{{name:str}}/{{fault:str}}", status_code=200)
    async def inject(request: AnyRequest, name: TargetName, fault: FaultName) -> Response[bytes]:
        return _json_response(await _inject(targets, name, fault, request))

    return [list_targets, inject]


async def _inject(targets: FaultTargets, name: str, fault: str, request: AnyRequest) -> msgspec.Struct:
    """Inject a fault and return what took effect. Raises Problem."""
    target = targets.targets.get(name)
    spec = targets.faults.get(fault)
    if target is None or spec is None:
        known = f"{targets.name}: {', '.join(targets.targets) or 'none here'}; faults: {', '.join(targets.faults)}"
        raise Problem(404, "no_such_fault", known)
    content = await request.body()
    if content:
        require_json(request.headers.get("content-type", ""))
    try:
        return await spec.inject(target, msgspec.json.decode(content or b"{}", type=spec.body))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Problem(400, "invalid_command", str(error)) from error
    except NotRunning as error:
        raise Problem(409, "not_running", str(error)) from error
    except UserError as error:
        raise Problem(503, "unavailable", f"{error.problem}; {error.remedy}") from error


def _json_response(value: object) -> Response[bytes]:
    return Response(msgspec.json.encode(value), media_type="application/json")
