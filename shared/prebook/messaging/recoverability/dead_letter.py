"""Dead letters: the headers that a failed message gets, and the message as the parking queue delivers it.

Source: EIP, Dead Letter Channel.
"""

import hashlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from prebook.messaging.errors import RequestExpired, error_summary
from prebook.messaging.headers import (
    CAUSE_HEADER,
    ERROR_HEADER,
    EXCHANGE_HEADER,
    FIRST_FAILED_AT_HEADER,
    ROUTING_KEY_HEADER,
    TRACEBACK_DIGEST_HEADER,
)

DELIVERY_LIMIT = 20
"""Redeliveries before the broker dead-letters a message, for crash loops only: services count attempts themselves and
use fewer. Set explicitly, because the broker's default differs by version."""


@dataclass(frozen=True, slots=True)
class XDeath:
    """One entry of the ``x-death`` header, which the broker adds when it dead-letters a message by itself.

    It does so, for example, with a message whose consumer crashed more often than the queue's delivery limit allows.
    Source: RabbitMQ, "Dead Letter Exchanges".
    """

    queue: str
    exchange: str
    routing_key: str
    reason: str
    count: int
    at: datetime | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message as the parking queue delivers it. Any message fits, however malformed."""

    queue: str
    """Address of the queue whose consumer could not handle the message."""
    headers: Mapping[str, str]
    body: bytes
    x_deaths: tuple[XDeath, ...] = ()
    """Newest first."""
    parked_at: datetime | None = None
    """Time of parking, in whole seconds: AMQP timestamps have no fraction."""
    user: str = ""
    """Broker user that published the message last; empty if the message does not name it."""


def first_failure_headers(exchange: str, routing_key: str, at: datetime) -> dict[str, str]:
    """Return the headers that record the original address, for a replay, and the time of the first failure."""
    return {EXCHANGE_HEADER: exchange, ROUTING_KEY_HEADER: routing_key, FIRST_FAILED_AT_HEADER: at.isoformat()}


def failure_headers(cause: str, error: Exception | None) -> dict[str, str]:
    """Return the headers that record why a message is dead-lettered. ``cause`` is a machine-readable code."""
    return {CAUSE_HEADER: cause, **(error_headers(error) if error else {})}


def error_headers(error: Exception) -> dict[str, str]:
    """Return the headers that record the error of an attempt.

    There are none for an expired request: those of the attempt before remain.
    """
    if isinstance(error, RequestExpired):
        return {}
    return {ERROR_HEADER: error_summary(error), TRACEBACK_DIGEST_HEADER: traceback_digest(error)}


def traceback_digest(error: BaseException) -> str:
    """Return 12 hex digits, equal for errors of one type raised along one path through our code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/prebook/" in frame.filename]
    path = "\n".join(f"{frame.filename.rpartition('/prebook/')[2]}:{frame.name}:{frame.lineno}" for frame in frames)
    return hashlib.sha256(f"{type(error).__qualname__}\n{path}".encode()).hexdigest()[:12]
