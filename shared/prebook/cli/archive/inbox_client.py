"""What the receivers' inboxes have admitted, asked over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp

from prebook.cli.suite_access import ArchiveAccess
from prebook.messaging.channel import Unreachable
from prebook.replay.receivers import ArchiveRedelivery

MAX_CONCURRENT_REQUESTS, REQUEST_TIMEOUT_S = 16, 5.0
FOUND, NOT_FOUND = 200, 404
ADMISSION_TIMEOUT_S, POLL_INTERVAL_S = 15.0, 0.2


class InboxClient:
    """Every method raises Unreachable."""

    def __init__(self, access: ArchiveAccess, session: aiohttp.ClientSession) -> None:
        self._access, self._session, self._concurrency_limit = (
            access,
            session,
            asyncio.Semaphore(MAX_CONCURRENT_REQUESTS),
        )

    async def find_unadmitted(self, sendings: Collection[ArchiveRedelivery]) -> list[ArchiveRedelivery]:
        """Those that their receiver has not admitted."""
        admitted = await asyncio.gather(*(self._is_admitted(sending) for sending in sendings))
        return [sending for sending, had in zip(sendings, admitted, strict=True) if not had]

    async def wait_for_admission(self, sendings: Collection[ArchiveRedelivery]) -> list[ArchiveRedelivery]:
        """The same, once all are admitted or time is up."""
        missing = await self.find_unadmitted(sendings)
        try:
            async with asyncio.timeout(ADMISSION_TIMEOUT_S):
                while missing:
                    await asyncio.sleep(POLL_INTERVAL_S)
                    missing = await self.find_unadmitted(missing)
        except TimeoutError:
            return missing
        return missing

    async def _is_admitted(self, sending: ArchiveRedelivery) -> bool:
        url = f"{self._access.service_urls[sending.receiver.service]}/inbox/{quote(sending.message.id, safe='')}"
        try:
            async with self._concurrency_limit, self._session.get(url) as answer:
                if answer.status not in {FOUND, NOT_FOUND}:
                    raise Unreachable(f"{url} answers {answer.status}")
                return answer.status == FOUND
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{url} does not answer: {error}") from error


@asynccontextmanager
async def open_inbox_client(access: ArchiveAccess) -> AsyncIterator[InboxClient]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)) as session:
        yield InboxClient(access, session)
