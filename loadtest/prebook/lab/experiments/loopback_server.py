"""HTTP server of an experiment, in the lab's process."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

HOST = "127.0.0.1"


@asynccontextmanager
async def listen(handle: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Answer POST requests on a free port of this machine while the block runs; yield the URL."""
    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
