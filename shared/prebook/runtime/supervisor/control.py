"""The supervisor's HTTP API. Faults are injected here, outside of the services, which know nothing of it.

| request | effect |
|---|---|
| ``GET /processes`` | a list of ProcessInfo |
| ``POST /processes/{name}/kill`` Kill | SIGKILL; kept down for ``hold_s`` |
| ``POST /processes/{name}/brownout`` Brownout | stopped and woken in turn for ``for_s`` |
| ``POST /processes/{name}/skew`` Skew | ended in order, started again with a clock that is ``by_s`` ahead |
| ``POST /processes/{name}/pause`` | stopped until ``resume`` |
| ``POST /processes/{name}/resume`` | woken; ends a pause or a brownout |

Every request needs ``Authorization: Bearer <token>``. Errors are ``application/problem+json``.
"""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from prebook.runtime.stack.trouble import Trouble
from prebook.runtime.supervisor.process import KeptProcess, NotRunning
from prebook.runtime.supervisor.spec import Brownout, Effect, Kill, Nothing, Skew
from prebook.runtime.supervisor.supervisor import Supervisor

LONGEST_BODY = 4096
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Fault:
    """The body it takes, and what it does."""

    body: type[msgspec.Struct]
    inject: Callable[[KeptProcess, Any], Awaitable[Effect]]


FAULTS: Mapping[str, Fault] = {
    "kill": Fault(Kill, lambda process, wanted: process.kill(wanted.hold_s)),
    "brownout": Fault(Brownout, lambda process, wanted: process.brown_out(wanted)),
    "skew": Fault(Skew, lambda process, wanted: process.skew(wanted.by_s)),
    "pause": Fault(Nothing, lambda process, _: process.pause()),
    "resume": Fault(Nothing, lambda process, _: process.resume()),
}


class Problem(Exception):
    """Told to the client as RFC 9457 says."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def application(supervisor: Supervisor, token: str) -> web.Application:
    """Raises ValueError where the token is empty: nobody may do this without one."""
    if not token:
        raise ValueError("the control API needs a token")
    app = web.Application(middlewares=[_problems, _only_with(token)], client_max_size=LONGEST_BODY)

    async def processes(_: web.Request) -> web.Response:
        return _json([process.info() for process in supervisor.processes.values()])

    async def fault(request: web.Request) -> web.Response:
        process = supervisor.processes.get(request.match_info["name"])
        wanted = FAULTS.get(request.match_info["fault"])
        if process is None or wanted is None:
            known = f"processes: {', '.join(supervisor.processes)}; faults: {', '.join(FAULTS)}"
            raise Problem(HTTPStatus.NOT_FOUND, known)
        return _json(await wanted.inject(process, msgspec.json.decode(await request.read() or b"{}", type=wanted.body)))

    app.router.add_get("/processes", processes)
    app.router.add_post("/processes/{name}/{fault}", fault)
    return app


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Raises Trouble where the port is taken."""
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
        raise Trouble(f"the control API cannot listen on {host}:{port}: {error.strerror}", remedy) from error


def _only_with(token: str) -> Any:
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected):
            raise Problem(HTTPStatus.UNAUTHORIZED, "send the token of this run: Authorization: Bearer <token>")
        return await handler(request)

    return check


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        return _problem(problem.status, problem.detail)
    except NotRunning as error:
        return _problem(HTTPStatus.CONFLICT, str(error))
    except msgspec.MsgspecError as error:
        return _problem(HTTPStatus.BAD_REQUEST, str(error))
    except web.HTTPException as error:
        return _problem(HTTPStatus(error.status), error.reason)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _problem(status: HTTPStatus, detail: str) -> web.Response:
    body = {"title": status.phrase, "status": status, "detail": detail}
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/problem+json")
