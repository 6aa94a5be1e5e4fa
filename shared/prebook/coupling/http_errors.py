"""HTTP statuses between services, and the errors that responses without a reply stand for."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from prebook.coupling.ports import HttpResponse
from prebook.messaging.clock import utc_now
from prebook.messaging.errors import Undeliverable, Unreachable

OK = 200
ACCEPTED = 202
NO_CONTENT = 204
UNAUTHORIZED = 401
NOT_FOUND = 404
TOO_MANY_REQUESTS = 429
MIN_SERVER_ERROR = 500
MAX_RETRY_AFTER_S = 5.0
"""Seconds of a ``Retry-After`` that are believed: far below the deadlines of the flows, so that a request is still
sent if its provider is back earlier."""
_SECONDS = re.compile(r"[0-9]+")


def error_from_response(service: str, response: HttpResponse) -> Unreachable | Undeliverable:
    """Return the error of a response that carries no reply, for the caller to raise.

    401, 429 and 5xx: Unreachable, with the seconds of ``Retry-After``, since a retry may succeed; a signature is
    refused (401) while secrets are exchanged or a clock is wrong. Otherwise: Undeliverable.
    ``service``: name of the service that sent the response.
    """
    text = f"{service} replied with status {response.status}"
    if response.status in (UNAUTHORIZED, TOO_MANY_REQUESTS) or response.status >= MIN_SERVER_ERROR:
        retry_after_s = parse_retry_after(response.headers.get("retry-after", ""), utc_now())
        return Unreachable(text, reason="refused", retry_after_s=retry_after_s)
    return Undeliverable(f"{text}: {response.body[:200].decode(errors='replace')}")


def parse_retry_after(value: str, now: datetime, max_s: float = MAX_RETRY_AFTER_S) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for, from 0 to ``max_s``; None if it is malformed.

    Source: RFC 9110, section 10.2.3: a number of seconds or an HTTP-date.
    """
    if _SECONDS.fullmatch(value.strip()):
        return min(float(value), max_s)
    try:
        time = parsedate_to_datetime(value)
        wait_s = ((time if time.tzinfo else time.replace(tzinfo=UTC)) - now).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(0.0, wait_s), max_s)
