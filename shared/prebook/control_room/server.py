"""HTTP server of the control room, inside of the console's process and on its event loop."""

import contextlib
from collections.abc import AsyncIterator

from litestar.types import ASGIApp

from prebook.devstack.errors import UserError
from prebook.http.embedded_server import serve_embedded


@contextlib.asynccontextmanager
async def serve_page(app: ASGIApp, host: str, port: int) -> AsyncIterator[None]:
    """Serve the application while the block runs. Raises UserError if the port is taken."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(serve_embedded(app, host, port))
        except OSError as error:
            remedy = "choose other ports with --port-base"
            raise UserError(f"the control room cannot listen on {host}:{port}: {error.strerror}", remedy) from error
        yield
