"""HTTP listeners of the simulated partners. Requests and replies are bytes in the partner's own format."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from prebook.fleets.partners.simulation import PartnerCall

HOST = "127.0.0.1"
PATH = "/offers"
STOP_TIMEOUT_S = 0.5


class PartnerListeners:
    """One HTTP server for each partner, on a free port of this machine."""

    def __init__(self, partners: Mapping[str, PartnerCall]) -> None:
        self._partners = partners
        self.urls: dict[str, str] = {}
        """Base URL of each partner; empty until ``up`` is set."""
        self.up = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        runners: list[web.ServerRunner] = []
        try:
            for name, call in self._partners.items():
                # Cancel the call when its caller disconnects: a dead partner never replies, so calls would pile up.
                server = web.Server(_handler(call), handler_cancellation=True, access_log=None)
                runner = web.ServerRunner(server, shutdown_timeout=STOP_TIMEOUT_S)
                await runner.setup()
                runners.append(runner)
                await web.TCPSite(runner, HOST, 0).start()
                self.urls[name] = f"http://{HOST}:{runner.addresses[0][1]}"
            self.up.set()
            await asyncio.Event().wait()
        finally:
            self.up.clear()
            for runner in runners:
                await runner.cleanup()


def _handler(call: PartnerCall) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def reply(request: web.BaseRequest) -> web.Response:
        if request.method != "POST" or request.path != PATH:
            return web.Response(status=404)
        message = await call(await request.read())
        return web.Response(body=message.body, headers={"Content-Type": message.media_type})

    return reply
