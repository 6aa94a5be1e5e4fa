"""What the couplings need of a transport."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from prebook.messaging.codec import WireMessage

BROKER_ROUTE = "broker"
"""Outbox lane of everything that the broker takes."""


class Publisher(Protocol):
    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        """Returns once the broker has confirmed it into every queue it routes to.

        Raises Unreachable (unknown or refused: try again) or Undeliverable (routes nowhere, too large).
        """
        ...


@dataclass(frozen=True, slots=True)
class HttpResponse:
    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient(Protocol):
    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> HttpResponse:
        """One request, within ``timeout_s`` in total. Raises Unreachable where no response came."""
        ...
