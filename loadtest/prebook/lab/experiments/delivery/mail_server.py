"""Mail server of the experiments, in the lab's process: it sends e-mails, and can hold back the answer to one."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from prebook.lab.experiments.delivery.mailing_receiver import IDEMPOTENCY_KEY


class MailServer:
    """Counts the e-mails that it sends. One with a known idempotency key was sent before, and is not sent again."""

    def __init__(self) -> None:
        self.sent = Counter[str]()
        """Number of e-mails by subject."""
        self._keys = set[str]()
        self._held_subject = ""
        self._held = asyncio.Event()
        self._released = asyncio.Event()

    @asynccontextmanager
    async def hold(self, subject: str) -> AsyncIterator[asyncio.Event]:
        """Send the e-mail with ``subject``, but answer its request only after the block; the event tells of it."""
        self._held_subject = subject
        self._held.clear()
        self._released.clear()
        try:
            yield self._held
        finally:
            self._held_subject = ""
            self._released.set()

    async def handle(self, request: web.Request) -> web.Response:
        """Send one e-mail."""
        subject = (await request.json())["subject"]
        key = request.headers.get(IDEMPOTENCY_KEY)
        if key is None or key not in self._keys:
            self.sent[subject] += 1
        if key is not None:
            self._keys.add(key)
        if subject == self._held_subject:
            self._held.set()
            await self._released.wait()
        return web.Response(status=204)
