"""The supervisor's HTTP API. Faults are injected here, outside of the services, which know nothing of it.

| request | effect |
|---|---|
| ``GET /processes`` | a list of ProcessInfo |
| ``POST /processes/{name}/kill`` Kill | SIGKILL; kept down for ``hold_s`` |
| ``POST /processes/{name}/brownout`` Brownout | stopped and woken in turn for ``for_s`` |
| ``POST /processes/{name}/skew`` Skew | ended in order, started again with a clock that is ``by_s`` ahead |
| ``POST /processes/{name}/pause`` | stopped until ``resume`` |
| ``POST /processes/{name}/resume`` | woken; ends a pause or a brownout |
| ``GET /parts`` | a list of PartInfo: broker and database, where they are processes of ours |
| ``POST /parts/{name}/restart`` Restart | SIGKILL or orderly stop; down for ``hold_s``; back with the same data |
| ``POST /parts/broker/alarm`` Alarm | memory alarm for ``for_s``: whoever publishes is blocked |
| ``GET /links`` | a list of LinkInfo; none where the suite was not started with links |
| ``POST /links/{name}/slow`` (or ``cut``, ``black_hole``, ``half_open``) Spoil | see LinkState; for ``for_s`` |

An answer comes at once, and says what took effect: nothing waits for anything to be back. What is for a time undoes
itself, also when the suite stops.

Every request needs ``Authorization: Bearer <token>``. Errors are ``application/problem+json``.
"""

import hmac
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
NO_SERVERS: Mapping[str, SupervisedServer] = {}
NO_PROXIES: Mapping[str, FaultProxy] = {}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlApiError(Exception):
    """Told to the client as RFC 9457 says."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def create_control_app(
    supervisor: Supervisor,
    token: str,
    servers: Mapping[str, SupervisedServer] = NO_SERVERS,
    proxies: Mapping[str, FaultProxy] = NO_PROXIES,
) -> web.Application:
    """For the services, the parts that are processes of ours, and the links. Raises ValueError without a token."""
    if not token:
        raise ValueError("the control API needs a token")
    app = web.Application(middlewares=[_problem_middleware, _require_token(token)], client_max_size=MAX_BODY_BYTES)
    for kind in (process_targets(supervisor.processes), server_targets(servers), proxy_targets(proxies)):
        app.router.add_get(f"/{kind.name}", _list_handler(kind))
        app.router.add_post(f"/{kind.name}/{{name}}/{{fault}}", _inject_handler(kind))
    return app


def _list_handler(targets: FaultTargets) -> Handler:
    async def told(_: web.Request) -> web.Response:
        return _json_response([member.info() for member in targets.targets.values()])

    return told


def _inject_handler(targets: FaultTargets) -> Handler:
    async def broken(request: web.Request) -> web.Response:
        member = targets.targets.get(request.match_info["name"])
        wanted = targets.faults.get(request.match_info["fault"])
        if member is None or wanted is None:
            known = f"{targets.name}: {', '.join(targets.targets) or 'none here'}; faults: {', '.join(targets.faults)}"
            raise ControlApiError(HTTPStatus.NOT_FOUND, known)
        body = msgspec.json.decode(await request.read() or b"{}", type=wanted.body)
        return _json_response(await wanted.inject(member, body))

    return broken


@asynccontextmanager
async def serve_control_api(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Raises UserError where the port is taken."""
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


def _require_token(token: str) -> Any:
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected):
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
    except UserError as trouble:
        return _problem_response(HTTPStatus.SERVICE_UNAVAILABLE, f"{trouble.problem}; {trouble.remedy}")
    except msgspec.MsgspecError as error:
        return _problem_response(HTTPStatus.BAD_REQUEST, str(error))
    except web.HTTPException as error:
        return _problem_response(HTTPStatus(error.status), error.reason)


def _json_response(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _problem_response(status: HTTPStatus, detail: str) -> web.Response:
    body = {"title": status.phrase, "status": status, "detail": detail}
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/problem+json")
