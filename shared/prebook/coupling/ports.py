"""Ports of the couplings to their transports: a publisher and an HTTP client."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from prebook.messaging.codec import WireMessage

BROKER_ROUTE = "broker"
"""Outbox route of all messages to the broker."""


class Publisher(Protocol):
    """Publishes messages to the broker with publisher confirms."""

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        """Publish a message; return once the broker has confirmed it for every queue that it routes to.

        Raises Unreachable (no confirm, or a negative one: retry) or Undeliverable (unroutable or too large).
        """
        ...


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """Response to an HTTP request between services."""

    status: int
    headers: Mapping[str, str]
    """Names are in lower case."""
    body: bytes


class HttpClient(Protocol):
    """Calls services by name."""

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> HttpResponse:
        """Send one request to ``service`` and return its response, whatever its status.

        ``timeout_s``: seconds for the whole exchange. Raises Unreachable if no response came in time.
        """
        ...
