"""The HTTP applications of a service: public and internal endpoints, each with health and schema."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from litestar import Litestar, Response, get
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ControllerRouterHandler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from prebook.http.http_methods import HttpMethodsApp
from prebook.http.problems import EXCEPTION_HANDLERS
from prebook.http.repeated_headers import refuse_repeated_headers

MAX_BODY_BYTES = 64 * 1024
"""Size limit of a request body, in bytes."""
ReadinessCheck = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns the missing dependencies of a service, each with the reason; empty when it is ready."""


@asynccontextmanager
async def _no_lifespan(_: Litestar) -> AsyncIterator[None]:
    yield


def create_internal_app(
    service: str,
    routes: Sequence[ControllerRouterHandler],
    *,
    missing_dependencies: ReadinessCheck,
    refresh_gauges: Callable[[], Awaitable[None]],
) -> Litestar:
    """Build the application of the internal listener: ``routes``, /livez, /readyz, /metrics, /schema/openapi.json.

    ``refresh_gauges`` runs before each scrape of /metrics.
    """

    @get("/metrics", include_in_schema=False)
    async def metrics() -> Response[bytes]:
        await refresh_gauges()
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    title = f"Prebook {service}, internal"
    return create_app(service, [metrics, *routes], missing_dependencies=missing_dependencies, title=title)


def create_app(
    service: str,
    routes: Sequence[ControllerRouterHandler],
    *,
    missing_dependencies: ReadinessCheck,
    lifespan: Callable[[Litestar], AbstractAsyncContextManager[None]] = _no_lifespan,
    title: str = "",
) -> Litestar:
    """Build the application of a listener: its ``routes``, /livez, /readyz and /schema/openapi.json.

    ``lifespan`` surrounds the serving of requests; ``title`` is that of the schema.
    """

    @get("/livez", include_in_schema=False)
    async def livez() -> dict[str, str]:
        return {"status": "alive", "service": service}

    @get("/readyz", include_in_schema=False)
    async def readyz() -> Response[dict[str, Any]]:
        missing = dict(await missing_dependencies())
        status = "not ready" if missing else "ready"
        return Response({"status": status, "service": service, "missing": missing}, status_code=503 if missing else 200)

    return HttpMethodsApp(
        [livez, readyz, *routes],
        exception_handlers=EXCEPTION_HANDLERS,
        middleware=[refuse_repeated_headers],
        request_max_body_size=MAX_BODY_BYTES,
        lifespan=[lifespan],
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title=title or f"Prebook {service}",
            version=_version(),
            path="/schema",
            render_plugins=[JsonRenderPlugin()],
        ),
    )


def _version() -> str:
    try:
        return version("prebook")
    except PackageNotFoundError:
        return "0+checkout"
