"""In-memory network: HTTP between the applications of services, without sockets."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import httpx
from litestar import Litestar
from litestar.types import ASGIApp

from prebook.asyncio_tools import OwnedTasks
from prebook.coupling.ports import HttpClient, HttpResponse
from prebook.flows import CONSOLE
from prebook.http.app import create_app, create_internal_app
from prebook.http.client import JSON_HEADERS, sent_target
from prebook.http.listeners import ListenerApp
from prebook.http.signed_client import CallAuth
from prebook.messaging.errors import Unreachable
from prebook.runtime.assembly import AssembledService
from prebook.testing.configuration import signing_secret_of

INTERNAL_PORT = 8001
"""Port in the URLs of internal endpoints."""


class LazyApp:
    """ASGI application that is built at its first request, since most tests call few of the applications of a world."""

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build

    @cached_property
    def _app(self) -> ASGIApp:
        return self._build()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one request."""
        await self._app(scope, receive, send)


def create_memory_app(assembled: AssembledService[Any]) -> ListenerApp:
    """Return the HTTP applications of an assembled service, which is ready and starts no loops."""

    def build_internal_app() -> Litestar:
        return create_internal_app(
            assembled.name, assembled.internal_routes, missing_dependencies=_report_ready, refresh_gauges=_do_nothing
        )

    public = LazyApp(lambda: create_ready_app(assembled.name, assembled.routes))
    return ListenerApp(public, LazyApp(build_internal_app), INTERNAL_PORT)


def create_ready_app(name: str, routes: Sequence[Any]) -> Litestar:
    """Return an HTTP application with ``routes`` that depends on nothing: it is ready and starts no loops."""
    return create_app(name, routes, missing_dependencies=_report_ready)


def open_client(assembled: AssembledService[Any]) -> httpx.AsyncClient:
    """Return a client of the service's public endpoints, on the caller's event loop."""
    return httpx.AsyncClient(transport=_transport(assembled), base_url=f"http://{assembled.name}")


def open_internal_client(assembled: AssembledService[Any], caller: str = CONSOLE) -> httpx.AsyncClient:
    """Return a client of the service's internal endpoints that signs its requests in the name of ``caller``."""
    auth = CallAuth(caller, (signing_secret_of(caller),), assembled.name)
    base_url = f"http://{assembled.name}:{INTERNAL_PORT}"
    return httpx.AsyncClient(transport=_transport(assembled), base_url=base_url, auth=auth)


class MemoryTransport(httpx.ASGITransport):
    """Calls an application with path and query as the transport between services sends them, which signatures cover."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response of the application."""
        target = sent_target(request.url.raw_path.decode())
        request.url = request.url.copy_with(raw_path=target.encode())
        return await super().handle_async_request(request)


def _transport(assembled: AssembledService[Any]) -> httpx.ASGITransport:
    return MemoryTransport(create_memory_app(assembled), raise_app_exceptions=False)


class MemoryHttp(HttpClient):
    """HTTP client over ASGI applications, without sockets. A service in ``down`` refuses the connection.

    A provider handles a request to its end even if the caller gives up, as a server behind a socket does.
    """

    def __init__(self, apps: Mapping[str, Any], down: Collection[str], copies: int = 1) -> None:
        """``copies``: requests sent for every request; the caller gets the response to the last one."""
        self._apps = apps
        self._down = down
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._internal_clients: dict[str, httpx.AsyncClient] = {}
        self.copies = copies
        self.lose_callbacks = False
        self.calls: list[str] = []
        self._requests = OwnedTasks()

    def connect(self) -> None:
        """Create the clients; call once all applications exist."""
        for name, app in self._apps.items():
            transport = MemoryTransport(app)
            self._clients[name] = httpx.AsyncClient(transport=transport, base_url=f"http://{name}")
            internal_url = f"http://{name}:{INTERNAL_PORT}"
            self._internal_clients[name] = httpx.AsyncClient(transport=transport, base_url=internal_url)

    def client(self, service: str) -> httpx.AsyncClient:
        """Return the client of a service's public endpoints, for requests of a rider."""
        return self._clients[service]

    def internal_client(self, service: str) -> httpx.AsyncClient:
        """Return a client of a service's internal endpoints that signs nothing."""
        return self._internal_clients[service]

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> HttpResponse:
        self.calls.append(f"{method} {service}{path}")
        if service in self._down:
            raise Unreachable(f"{service} is down")
        if self.lose_callbacks and path.startswith("/callbacks/"):
            raise Unreachable("the callback was lost")
        try:
            async with asyncio.timeout(timeout_s):
                for _ in range(self.copies):
                    response = await self._requests.run_shielded(
                        self._internal_clients[service].request(
                            method, path, headers={**JSON_HEADERS, **headers}, content=body
                        )
                    )
        except TimeoutError:
            raise Unreachable(f"{service} did not reply in time", reason="timeout") from None
        return HttpResponse(response.status_code, response.headers, response.content)

    async def close(self) -> None:
        """Cancel the requests that are under way, and close the clients."""
        await self._requests.cancel()
        for client in (*self._clients.values(), *self._internal_clients.values()):
            await client.aclose()


async def _report_ready() -> Mapping[str, str]:
    return {}


async def _do_nothing() -> None:
    return None
