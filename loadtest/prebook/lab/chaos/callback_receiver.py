"""A rider's system: an HTTP server of the lab that receives signed callbacks, and refuses some of them once."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from aiohttp import web

from prebook.lab.chaos.callbacks import ReceivedCallback, is_refused_once, read_callback
from prebook.lab.suite_client.settings import EnvironmentReader, InvalidEnvironment, parse_base_url, parse_non_empty

PATH = "/booking-settled"
REFUSED_STATUS = 503
ACCEPTED_STATUS = 204
HOSTS_VARIABLE = "PREBOOK_RIDER_CALLBACK_HOSTS"
SECRETS_VARIABLE = "PREBOOK_RIDER_CALLBACK_SECRETS"


@dataclass
class CallbackReceiver:
    """Receives callbacks at ``origin``, such as ``http://127.0.0.1:20000``; ``secret`` signs them."""

    origin: str
    secret: str = field(repr=False)
    callbacks: list[ReceivedCallback] = field(default_factory=list)
    """All callbacks, in the order of their arrival."""
    _seen: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """URL that a booking request names."""
        return f"{self.origin}{PATH}"

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Listen while the block runs. Raises OSError if the port is taken."""
        application = web.Application()
        application.router.add_post(PATH, self._receive)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        address = urlsplit(self.origin)
        try:
            await web.TCPSite(runner, address.hostname, address.port).start()
            yield
        finally:
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        received_at = datetime.now(UTC)
        body = await request.read()
        message_id = request.headers.get("webhook-id", "")
        accepted = message_id in self._seen or not is_refused_once(message_id)
        self._seen.add(message_id)
        self.callbacks.append(read_callback(self.secret, request.headers, body, received_at, accepted=accepted))
        return web.Response(status=ACCEPTED_STATUS if accepted else REFUSED_STATUS)


def read_callback_receiver(environ: Mapping[str, str]) -> CallbackReceiver | None:
    """Return the receiver that the suite may call, or None if it may call no rider.

    Raises:
        InvalidEnvironment: the variables name no origin with plain http, or no secret.
    """
    if not environ.get(HOSTS_VARIABLE):
        return None
    reader = EnvironmentReader(environ)
    origin = reader.read(HOSTS_VARIABLE, parse_base_url)
    secret = reader.read(SECRETS_VARIABLE, parse_non_empty)
    if reader.problems:
        raise InvalidEnvironment(reader.problems)
    return CallbackReceiver(origin, secret)
