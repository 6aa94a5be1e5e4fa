"""The suite as the campaign sees it: two ledgers to read, and a health page."""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from typing import TypeVar

import aiohttp
import msgspec

from prebook.contracts.booking import DeliveryEntry, DeliveryPage, LedgerEntry, LedgerPage
from prebook.contracts.dead_letters import DeadLetterPage, DeadLetterSummary
from prebook.flows import OPERATIONS
from prebook.lab.errors import LabError

PAGE_SIZE = 500
READ_TIMEOUT = aiohttp.ClientTimeout(total=10.0)

PageT = TypeVar("PageT", LedgerPage, DeliveryPage, DeadLetterPage)


class SuiteUnreachable(LabError):
    """The suite did not answer a question of the campaign."""


class SuiteClient:
    def __init__(self, session: aiohttp.ClientSession, urls: Mapping[str, str]) -> None:
        self._session = session
        self._urls = urls

    async def read_ledger(self, prefix: str) -> tuple[LedgerEntry, ...]:
        """Return booking's rows under every key that starts with ``prefix``. Raises SuiteUnreachable."""
        pages = self.read_pages("booking", "/v1/ledger", LedgerPage, {"prefix": prefix})
        return tuple([entry async for page in pages for entry in page.entries])

    async def read_deliveries(self, since: datetime) -> tuple[DeliveryEntry, ...]:
        """Return what notification told riders from ``since`` on. Raises SuiteUnreachable."""
        query = {"since": since.astimezone(UTC).isoformat().replace("+00:00", "Z")}
        pages = self.read_pages("notification", "/v1/deliveries", DeliveryPage, query)
        return tuple([entry async for page in pages for entry in page.entries])

    def has_service(self, service: str) -> bool:
        """Whether it is known where this service is."""
        return service in self._urls

    async def check_ready(self, services: Collection[str]) -> None:
        """Raises SuiteUnreachable, naming the service and what to do, unless each of them that is known is ready."""
        for service in self._urls:
            if service in services:
                await self._get(service, "/readyz", {})

    async def read_pages(
        self, service: str, path: str, page_type: type[PageT], query: Mapping[str, str]
    ) -> AsyncIterator[PageT]:
        """Yield all pages of ``path``, each continued where the one before ends. Raises SuiteUnreachable."""
        after: str | None = ""
        while after is not None:
            page = await self._read_page(service, path, page_type, {**query, "after": after})
            yield page
            after = page.next

    async def _read_page(self, service: str, path: str, page_type: type[PageT], query: Mapping[str, str]) -> PageT:
        given = {name: value for name, value in query.items() if value}
        body = await self._get(service, path, {**given, "limit": str(PAGE_SIZE)})
        try:
            return msgspec.json.decode(body, type=page_type)
        except msgspec.DecodeError as error:
            raise SuiteUnreachable(f"{service} answered {path} with something else than a page: {error}") from error

    async def _get(self, service: str, path: str, query: Mapping[str, str]) -> bytes:
        url = self._urls[service] + path
        try:
            async with self._session.get(url, params=query, timeout=READ_TIMEOUT) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SuiteUnreachable(unreachable_text(service, url, str(error) or "no answer in time")) from error
        if response.status != 200:  # noqa: PLR2004  the only status that carries what was asked for
            raise SuiteUnreachable(unreachable_text(service, url, f"status {response.status}: {body[:300]!r}"))
        return body


def unreachable_text(service: str, url: str, what: str) -> str:
    return f"{service} does not answer at {url} ({what}). Is the suite up? `prebook doctor` says what is missing."


async def read_parked_booking_ids(suite: SuiteClient) -> frozenset[str]:
    """Return the bookings with a parked message. Raises SuiteUnreachable where operations does not run or answer."""
    return frozenset(line.conversation_id for line in await read_parked_messages(suite))


async def read_parked_messages(suite: SuiteClient, **query: str) -> tuple[DeadLetterSummary, ...]:
    """Return the dead letters that nobody has resolved or discarded. Raises SuiteUnreachable.

    ``query`` narrows them down by parameters of ``GET /v1/dead-letters``.
    """
    if not suite.has_service(OPERATIONS):
        raise SuiteUnreachable("nothing is known of operations; set PREBOOK_URL_OPERATIONS")
    pages = suite.read_pages(OPERATIONS, "/v1/dead-letters", DeadLetterPage, query)
    return tuple([line async for page in pages for line in page.dead_letters])
