"""HTTP client that asks the receivers' inboxes which messages they have handled."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp

from prebook.cli.suite_access import ArchiveAccess
from prebook.messaging.errors import Unreachable
from prebook.replay.receivers import ArchiveRedelivery

MAX_CONCURRENT_REQUESTS = 16
REQUEST_TIMEOUT_S = 5.0
ADMISSION_TIMEOUT_S = 15.0
POLL_INTERVAL_S = 0.2
FOUND = 200
NOT_FOUND = 404


class InboxClient:
    """Every method raises Unreachable."""

    def __init__(self, access: ArchiveAccess, session: aiohttp.ClientSession) -> None:
        self._access = access
        self._session = session
        self._concurrency_limit = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)

    async def find_unadmitted(self, redeliveries: Collection[ArchiveRedelivery]) -> list[ArchiveRedelivery]:
        """Those that the inbox of their receiver does not have."""
        admitted = await asyncio.gather(*(self._is_admitted(redelivery) for redelivery in redeliveries))
        return [redelivery for redelivery, had in zip(redeliveries, admitted, strict=True) if not had]

    async def wait_for_admission(self, redeliveries: Collection[ArchiveRedelivery]) -> list[ArchiveRedelivery]:
        """Poll until all are admitted or ADMISSION_TIMEOUT_S has passed; returns those still missing."""
        missing = await self.find_unadmitted(redeliveries)
        try:
            async with asyncio.timeout(ADMISSION_TIMEOUT_S):
                while missing:
                    await asyncio.sleep(POLL_INTERVAL_S)
                    missing = await self.find_unadmitted(missing)
        except TimeoutError:
            return missing
        return missing

    async def _is_admitted(self, redelivery: ArchiveRedelivery) -> bool:
        base_url = self._access.service_urls[redelivery.receiver.service]
        url = f"{base_url}/inbox/{quote(redelivery.message.id, safe='')}"
        try:
            async with self._concurrency_limit, self._session.get(url) as response:
                if response.status not in {FOUND, NOT_FOUND}:
                    raise Unreachable(f"{url} answers {response.status}")
                return response.status == FOUND
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{url} does not answer: {error}") from error


@asynccontextmanager
async def open_inbox_client(access: ArchiveAccess) -> AsyncIterator[InboxClient]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)) as session:
        yield InboxClient(access, session)
