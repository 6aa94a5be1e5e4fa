"""The suite as the campaign sees it: two ledgers to read, and a health page."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TypeVar

import aiohttp
import msgspec

from prebook.contracts.booking import DeliveryLine, DeliveryPage, LedgerLine, LedgerPage
from prebook.contracts.dead_letters import ParkedLine, ParkedPage
from prebook.flows import OPERATIONS

PAGE = 500
READ_TIMEOUT = aiohttp.ClientTimeout(total=10.0)

Page = TypeVar("Page")


class SuiteUnreachable(Exception):
    """The suite did not answer a question of the campaign."""


class Suite:
    def __init__(self, session: aiohttp.ClientSession, urls: Mapping[str, str]) -> None:
        self._session = session
        self._urls = urls

    async def rows(self, prefix: str) -> tuple[LedgerLine, ...]:
        """Booking's rows under every key that starts with ``prefix``. Raises SuiteUnreachable."""
        found: list[LedgerLine] = []
        after: str | None = ""
        while after is not None:
            page = await self.page("booking", "/v1/ledger", LedgerPage, {"prefix": prefix, "after": after})
            found.extend(page.lines)
            after = page.next
        return tuple(found)

    async def deliveries(self, since: datetime) -> tuple[DeliveryLine, ...]:
        """What notification told riders from ``since`` on. Raises SuiteUnreachable."""
        found: list[DeliveryLine] = []
        after: str | None = ""
        from_when = since.astimezone(UTC).isoformat().replace("+00:00", "Z")
        while after is not None:
            page = await self.page("notification", "/v1/deliveries", DeliveryPage, {"since": from_when, "after": after})
            found.extend(page.lines)
            after = page.next
        return tuple(found)

    def has(self, service: str) -> bool:
        """Whether it is known where this service is."""
        return service in self._urls

    async def check_ready(self, services: Collection[str]) -> None:
        """Raises SuiteUnreachable, naming the service and what to do, unless each of them that is known is ready."""
        for service in self._urls:
            if service in services:
                await self._get(service, "/readyz", {})

    async def page(self, service: str, path: str, kind: type[Page], query: Mapping[str, str]) -> Page:
        """One page of ``kind``; ``query`` without what is empty. Raises SuiteUnreachable."""
        given = {name: value for name, value in query.items() if value}
        body = await self._get(service, path, {**given, "limit": str(PAGE)})
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
            raise SuiteUnreachable(unanswered(service, url, str(error) or "no answer in time")) from error
        if response.status != 200:  # noqa: PLR2004  the only status that carries what was asked for
            raise SuiteUnreachable(unanswered(service, url, f"status {response.status}: {body[:300]!r}"))
        return body


def unanswered(service: str, url: str, what: str) -> str:
    return f"{service} does not answer at {url} ({what}). Is the suite up? `prebook doctor` says what is missing."


async def parked_bookings(suite: Suite) -> frozenset[str]:
    """Raises SuiteUnreachable where no operations runs, or it does not answer."""
    return frozenset(line.conversation for line in await parked_lines(suite))


async def parked_lines(suite: Suite) -> tuple[ParkedLine, ...]:
    """Those that nobody has resolved or discarded. Raises SuiteUnreachable."""
    if not suite.has(OPERATIONS):
        raise SuiteUnreachable("nothing is known of operations; set PREBOOK_URL_OPERATIONS")
    found: list[ParkedLine] = []
    after: str | None = ""
    while after is not None:
        page = await suite.page(OPERATIONS, "/v1/parked", ParkedPage, {"after": after})
        found.extend(page.lines)
        after = page.next
    return tuple(found)
