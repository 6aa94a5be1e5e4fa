"""What the receivers' inboxes have admitted, asked over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp

from prebook.cli.suite_access import Access
from prebook.messaging.channel import Unreachable
from prebook.replay.receivers import Sending

AT_ONCE, ASK_WITHIN_S = 16, 5.0
FOUND, NOT_FOUND = 200, 404
ADMITTED_WITHIN_S, LOOK_EVERY_S = 15.0, 0.2


class Inboxes:
    """Every method raises Unreachable."""

    def __init__(self, where: Access, session: aiohttp.ClientSession) -> None:
        self._where, self._session, self._turn = where, session, asyncio.Semaphore(AT_ONCE)

    async def without(self, sendings: Collection[Sending]) -> list[Sending]:
        """Those that their receiver has not admitted."""
        admitted = await asyncio.gather(*(self._has(sending) for sending in sendings))
        return [sending for sending, had in zip(sendings, admitted, strict=True) if not had]

    async def still_without(self, sendings: Collection[Sending]) -> list[Sending]:
        """The same, once all are admitted or time is up."""
        missing = await self.without(sendings)
        try:
            async with asyncio.timeout(ADMITTED_WITHIN_S):
                while missing:
                    await asyncio.sleep(LOOK_EVERY_S)
                    missing = await self.without(missing)
        except TimeoutError:
            return missing
        return missing

    async def _has(self, sending: Sending) -> bool:
        url = f"{self._where.urls[sending.receiver.service]}/inbox/{quote(sending.kept.id, safe='')}"
        try:
            async with self._turn, self._session.get(url) as answer:
                if answer.status not in {FOUND, NOT_FOUND}:
                    raise Unreachable(f"{url} answers {answer.status}")
                return answer.status == FOUND
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{url} does not answer: {error}") from error


@asynccontextmanager
async def inboxes(where: Access) -> AsyncIterator[Inboxes]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_WITHIN_S)) as session:
        yield Inboxes(where, session)
