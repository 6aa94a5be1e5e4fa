"""The supervisor's HTTP API. It injects faults from outside of the services, which have no code for them.

| request | effect |
|---|---|
| ``GET /processes`` | a list of ProcessInfo |
| ``POST /processes/{name}/kill`` Kill | SIGKILL; kept down for ``down_s`` |
| ``POST /processes/{name}/brownout`` Brownout | stopped and continued in turn for ``duration_s`` |
| ``POST /processes/{name}/skew`` ClockSkew | orderly restart with a clock that is ``skew_s`` ahead |
| ``POST /processes/{name}/back_pressure`` BackPressure | orderly restart with back pressure on or off (booking) |
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
same user, which may read whatever its supervisor reads, cannot learn it. Errors are ``application/problem+json``.
"""

import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from prebook.devstack.errors import UserError
from prebook.devstack.proxies.proxy import FaultProxy
from prebook.devstack.supervisor.contract import NotRunning
from prebook.devstack.supervisor.faults import FaultTargets, process_targets, proxy_targets, server_targets
from prebook.devstack.supervisor.server import SupervisedServer
from prebook.devstack.supervisor.supervisor import Supervisor

MAX_BODY_BYTES = 4096
TOKEN_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
BEARER = "Bearer "
JSON = "application/json"
NO_SERVERS: Mapping[str, SupervisedServer] = {}
NO_PROXIES: Mapping[str, FaultProxy] = {}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlApiError(Exception):
    """An error that the client gets as ``application/problem+json``. Source: RFC 9457."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def create_control_app(
    supervisor: Supervisor,
    token_sha256: str,
    servers: Mapping[str, SupervisedServer] = NO_SERVERS,
    proxies: Mapping[str, FaultProxy] = NO_PROXIES,
) -> web.Application:
    """Create the application for services, servers and fault proxies.

    ``token_sha256``: ``token_digest`` of the clients' token. Raises ValueError if it is no digest.
    """
    if not TOKEN_DIGEST.match(token_sha256):
        raise ValueError("the control API needs the SHA-256 of a token, as 64 hexadecimal digits")
    middlewares = [_problem_middleware, _require_token(token_sha256)]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY_BYTES)
    for kind in (process_targets(supervisor.processes), server_targets(servers), proxy_targets(proxies)):
        app.router.add_get(f"/{kind.name}", _list_handler(kind))
        app.router.add_post(f"/{kind.name}/{{name}}/{{fault}}", _inject_handler(kind))
    return app


def token_digest(token: str) -> str:
    """Return the SHA-256 of a token, as hexadecimal digits."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def _list_handler(targets: FaultTargets) -> Handler:
    async def list_targets(_: web.Request) -> web.Response:
        return _json_response([target.info() for target in targets.targets.values()])

    return list_targets


def _inject_handler(targets: FaultTargets) -> Handler:
    async def inject(request: web.Request) -> web.Response:
        target = targets.targets.get(request.match_info["name"])
        fault = targets.faults.get(request.match_info["fault"])
        if target is None or fault is None:
            known = f"{targets.name}: {', '.join(targets.targets) or 'none here'}; faults: {', '.join(targets.faults)}"
            raise ControlApiError(HTTPStatus.NOT_FOUND, known)
        content = await request.read()
        if content and request.content_type != JSON:
            raise ControlApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send the body as {JSON}")
        body = msgspec.json.decode(content or b"{}", type=fault.body)
        return _json_response(await fault.inject(target, body))

    return inject


@asynccontextmanager
async def serve_control_api(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serve the application while the block runs. Raises UserError if the port is taken."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await _listen(runner, host, port)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        remedy = "choose another port with --control-port or --port-base"
        raise UserError(f"the control API cannot listen on {host}:{port}: {error.strerror}", remedy) from error


def _require_token(token_sha256: str) -> Any:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = ",".join(request.headers.getall("Authorization", []))  # two lines are no token, whatever they hold
        is_known = hmac.compare_digest(token_digest(given.removeprefix(BEARER)), token_sha256)
        if not (given.startswith(BEARER) and is_known):
            raise ControlApiError(HTTPStatus.UNAUTHORIZED, "send the token of this run: Authorization: Bearer <token>")
        return await handler(request)

    return check


@web.middleware
async def _problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ControlApiError as problem:
        return _problem_response(problem.status, problem.detail)
    except NotRunning as error:
        return _problem_response(HTTPStatus.CONFLICT, str(error))
    except UserError as error:
        return _problem_response(HTTPStatus.SERVICE_UNAVAILABLE, f"{error.problem}; {error.remedy}")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _problem_response(HTTPStatus.BAD_REQUEST, str(error))
    except web.HTTPException as error:
        return _problem_response(HTTPStatus(error.status), error.reason)


def _json_response(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type=JSON)


def _problem_response(status: HTTPStatus, detail: str) -> web.Response:
    body = {"title": status.phrase, "status": status, "detail": detail}
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/problem+json")
