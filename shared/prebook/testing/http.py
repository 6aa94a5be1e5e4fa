"""In-memory network: HTTP between the applications of services, without sockets."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from litestar import Litestar

from prebook.coupling.ports import HttpClient, HttpResponse
from prebook.http.app import create_app
from prebook.messaging.errors import Unreachable
from prebook.runtime.assembly import AssembledService


def create_memory_app(assembled: AssembledService[Any]) -> Litestar:
    """Return the HTTP application of an assembled service, which is ready and starts no loops."""
    return create_ready_app(assembled.name, assembled.routes)


def create_ready_app(name: str, routes: Sequence[Any]) -> Litestar:
    """Return an HTTP application with ``routes`` that depends on nothing: it is ready and starts no loops."""
    return create_app(
        name,
        routes,
        missing_dependencies=_report_ready,
        refresh_gauges=_do_nothing,
        lifespan=_no_lifespan,
    )


def open_client(assembled: AssembledService[Any]) -> httpx.AsyncClient:
    """Return a client of the service's HTTP application, on the caller's event loop."""
    app: Any = create_memory_app(assembled)  # httpx wants wider types of scope and events than Litestar declares
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{assembled.name}")


class MemoryHttp(HttpClient):
    """HTTP client over ASGI applications, without sockets. A service in ``down`` refuses the connection."""

    def __init__(self, apps: Mapping[str, Any], down: Collection[str], copies: int = 1) -> None:
        """``copies``: requests sent for every request; the caller gets the response to the last one."""
        self._apps = apps
        self._down = down
        self._clients: dict[str, httpx.AsyncClient] = {}
        self.copies = copies
        self.lose_callbacks = False
        self.calls: list[str] = []

    def connect(self) -> None:
        """Create the clients; call once all applications exist."""
        self._clients = {
            name: httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{name}")
            for name, app in self._apps.items()
        }

    def client(self, service: str) -> httpx.AsyncClient:
        """Return the client of a service, for requests of a rider."""
        return self._clients[service]

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
                    response = await self._clients[service].request(method, path, headers=headers, content=body)
        except TimeoutError:
            raise Unreachable(f"{service} did not reply in time", reason="timeout") from None
        return HttpResponse(response.status_code, response.headers, response.content)

    async def close(self) -> None:
        """Close the clients."""
        for client in self._clients.values():
            await client.aclose()


async def _report_ready() -> Mapping[str, str]:
    return {}


async def _do_nothing() -> None:
    return None


@asynccontextmanager
async def _no_lifespan(_: Litestar) -> AsyncIterator[None]:
    yield
