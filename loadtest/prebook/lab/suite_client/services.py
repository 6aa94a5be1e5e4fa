"""The suite as the campaign sees it: two ledgers to read, and a health page."""

from collections.abc import Collection, Mapping
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

PageT = TypeVar("PageT")


class SuiteUnreachable(LabError):
    """The suite did not answer a question of the campaign."""


class SuiteClient:
    def __init__(self, session: aiohttp.ClientSession, urls: Mapping[str, str]) -> None:
        self._session = session
        self._urls = urls

    async def read_ledger(self, prefix: str) -> tuple[LedgerEntry, ...]:
        """Booking's rows under every key that starts with ``prefix``. Raises SuiteUnreachable."""
        found: list[LedgerEntry] = []
        after: str | None = ""
        while after is not None:
            page = await self.read_page("booking", "/v1/ledger", LedgerPage, {"prefix": prefix, "after": after})
            found.extend(page.entries)
            after = page.next
        return tuple(found)

    async def read_deliveries(self, since: datetime) -> tuple[DeliveryEntry, ...]:
        """What notification told riders from ``since`` on. Raises SuiteUnreachable."""
        found: list[DeliveryEntry] = []
        after: str | None = ""
        from_when = since.astimezone(UTC).isoformat().replace("+00:00", "Z")
        while after is not None:
            page = await self.read_page(
                "notification", "/v1/deliveries", DeliveryPage, {"since": from_when, "after": after}
            )
            found.extend(page.entries)
            after = page.next
        return tuple(found)

    def has_service(self, service: str) -> bool:
        """Whether it is known where this service is."""
        return service in self._urls

    async def check_ready(self, services: Collection[str]) -> None:
        """Raises SuiteUnreachable, naming the service and what to do, unless each of them that is known is ready."""
        for service in self._urls:
            if service in services:
                await self._get(service, "/readyz", {})

    async def read_page(self, service: str, path: str, kind: type[PageT], query: Mapping[str, str]) -> PageT:
        """One page of ``kind``; ``query`` without what is empty. Raises SuiteUnreachable."""
        given = {name: value for name, value in query.items() if value}
        body = await self._get(service, path, {**given, "limit": str(PAGE_SIZE)})
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as wrong:
            raise SuiteUnreachable(f"{service} answered {path} with something else than a page: {wrong}") from wrong

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
    """Raises SuiteUnreachable where no operations runs, or it does not answer."""
    return frozenset(line.conversation_id for line in await read_parked_messages(suite))


async def read_parked_messages(suite: SuiteClient) -> tuple[DeadLetterSummary, ...]:
    """Those that nobody has resolved or discarded. Raises SuiteUnreachable."""
    if not suite.has_service(OPERATIONS):
        raise SuiteUnreachable("nothing is known of operations; set PREBOOK_URL_OPERATIONS")
    found: list[DeadLetterSummary] = []
    after: str | None = ""
    while after is not None:
        page = await suite.read_page(OPERATIONS, "/v1/parked", DeadLetterPage, {"after": after})
        found.extend(page.dead_letters)
        after = page.next
    return tuple(found)
