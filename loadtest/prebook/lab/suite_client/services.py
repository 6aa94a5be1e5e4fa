"""Client of the services' HTTP APIs that the lab uses: ledger, deliveries, dead letters, readiness, back pressure."""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from typing import TypeVar

import aiohttp
import msgspec
from yarl import URL

from prebook.contracts.auctions import AuctionEntry, AuctionPage
from prebook.contracts.back_pressure import BackPressureChange
from prebook.contracts.booking import DeliveryEntry, DeliveryPage, LedgerEntry, LedgerPage
from prebook.contracts.dead_letters import DeadLetterPage, DeadLetterSummary
from prebook.devstack.console_calls import ConsoleSigner
from prebook.devstack.errors import UserError
from prebook.devstack.pages import follow_pages
from prebook.flows import OPERATIONS
from prebook.lab.suite_client.settings import SuiteAddresses

PAGE_SIZE = 500
READ_TIMEOUT = aiohttp.ClientTimeout(total=10.0)

PageT = TypeVar("PageT", LedgerPage, DeliveryPage, DeadLetterPage, AuctionPage)


class SuiteUnreachable(UserError):
    """A service did not respond, or responded with an error or an unreadable body."""


class SuiteClient:
    """HTTP client of a suite: reads internal listeners in the name of the console, and operations as an operator."""

    def __init__(self, session: aiohttp.ClientSession, addresses: SuiteAddresses) -> None:
        self._session = session
        self._addresses = addresses
        self._signer = ConsoleSigner(addresses.console_secrets)

    async def read_ledger(self, prefix: str) -> tuple[LedgerEntry, ...]:
        """Return booking's ledger rows whose idempotency key starts with ``prefix``. Raises SuiteUnreachable."""
        pages = self.read_pages("booking", "/v1/ledger", LedgerPage, {"prefix": prefix})
        return tuple([entry async for page in pages for entry in page.entries])

    async def read_deliveries(self, since: datetime) -> tuple[DeliveryEntry, ...]:
        """Return the deliveries of notices from ``since`` on. Raises SuiteUnreachable."""
        query = {"since": since.astimezone(UTC).isoformat().replace("+00:00", "Z")}
        pages = self.read_pages("notification", "/v1/deliveries", DeliveryPage, query)
        return tuple([entry async for page in pages for entry in page.entries])

    async def read_auctions(self) -> tuple[AuctionEntry, ...] | None:
        """Return all auctions of matching; None if its address is unknown. Raises SuiteUnreachable."""
        if "matching" not in self._addresses.internal:
            return None
        pages = self.read_pages("matching", "/v1/ledger/auctions", AuctionPage, {})
        return tuple([entry async for page in pages for entry in page.entries])

    async def switch_back_pressure(self, *, enabled: bool | None) -> None:
        """Let booking refuse rides under overload, or none; None: as it is configured. Raises SuiteUnreachable."""
        path = "/v1/back-pressure"
        body = msgspec.json.encode(BackPressureChange(enabled=enabled))
        json_type = {"content-type": "application/json"}
        url = URL(self._addresses.internal["booking"] + path)
        headers = {**json_type, **self._signer.sign("booking", path, "PUT", json_type, body)}
        await self._request("PUT", "booking", url, headers, body)

    async def read_metrics(self, service: str) -> str:
        """Return the metrics of one process of a service, in the text format of Prometheus. Raises SuiteUnreachable."""
        if service not in self._addresses.internal:
            raise SuiteUnreachable(
                f"the internal address of {service} is unknown", f"set PREBOOK_INTERNAL_URL_{service.upper()}"
            )
        return (await self._get_internal(service, "/metrics", {})).decode()

    def has_service(self, service: str) -> bool:
        """Return whether the base URL of the public listener of ``service`` is known."""
        return service in self._addresses.public

    async def check_ready(self, services: Collection[str]) -> None:
        """Return if each of ``services`` whose URL is known reports that it is ready.

        Raises:
            SuiteUnreachable: a service is not ready; the text names it and the remedy.
        """
        for service in self._addresses.internal:
            if service in services:
                await self._get_internal(service, "/readyz", {})

    def read_pages(
        self, service: str, path: str, page_type: type[PageT], query: Mapping[str, str]
    ) -> AsyncIterator[PageT]:
        """Return all pages of ``path`` in order, following each page's ``next`` cursor. Raises SuiteUnreachable.

        Operations is read at its public listener, any other service at its internal one.
        """
        return follow_pages(lambda after: self._read_page(service, path, page_type, {**query, "after": after}))

    async def _read_page(self, service: str, path: str, page_type: type[PageT], query: Mapping[str, str]) -> PageT:
        non_empty = {name: value for name, value in query.items() if value}
        get = self._get_as_operator if service == OPERATIONS else self._get_internal
        body = await get(service, path, {**non_empty, "limit": str(PAGE_SIZE)})
        try:
            return msgspec.json.decode(body, type=page_type)
        except msgspec.DecodeError as error:
            raise SuiteUnreachable(
                f"{service} responded to {path} with an unreadable page: {error}",
                "run the suite and the lab in the same version",
            ) from error

    async def _get_as_operator(self, service: str, path: str, query: Mapping[str, str]) -> bytes:
        url = URL(self._addresses.public[service] + path).with_query(query)
        return await self._get(service, url, self._addresses.operator_headers)

    async def _get_internal(self, service: str, path: str, query: Mapping[str, str]) -> bytes:
        url = URL(self._addresses.internal[service] + path).with_query(query)
        return await self._get(service, url, self._signer.sign(service, url.raw_path_qs))

    async def _get(self, service: str, url: URL, headers: Mapping[str, str]) -> bytes:
        return await self._request("GET", service, url, headers)

    async def _request(
        self, method: str, service: str, url: URL, headers: Mapping[str, str], body: bytes | None = None
    ) -> bytes:
        exchange = self._session.request(method, url, headers=headers, data=body, timeout=READ_TIMEOUT)
        try:
            async with exchange as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _no_response(service, url, str(error) or "timed out") from error
        if response.status != 200:  # noqa: PLR2004  no other status carries a page
            raise _no_response(service, url, f"status {response.status}: {content[:300]!r}")
        return content


def _no_response(service: str, url: URL, reason: str) -> SuiteUnreachable:
    return SuiteUnreachable(
        f"{service} does not respond at {url} ({reason})", "is the suite up? `prebook doctor` shows what is missing"
    )


async def read_parked_booking_ids(suite: SuiteClient) -> frozenset[str]:
    """Return the ids of bookings with a parked message. Raises SuiteUnreachable if operations is not reachable."""
    return frozenset(dead_letter.conversation_id for dead_letter in await read_parked_messages(suite))


async def read_parked_messages(suite: SuiteClient, **query: str) -> tuple[DeadLetterSummary, ...]:
    """Return the parked dead letters: those that no operator has resolved or discarded.

    ``query`` filters them by parameters of ``GET /v1/dead-letters``. Raises SuiteUnreachable.
    """
    if not suite.has_service(OPERATIONS):
        raise SuiteUnreachable("the address of operations is unknown", "set PREBOOK_URL_OPERATIONS")
    pages = suite.read_pages(OPERATIONS, "/v1/dead-letters", DeadLetterPage, query)
    return tuple([dead_letter async for page in pages for dead_letter in page.dead_letters])
