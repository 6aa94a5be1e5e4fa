"""Refusal of requests that repeat a header of one value, since two readers could take different ones for the value."""

from litestar.types import ASGIApp, Receive, Scope, Send

from prebook.http.problems import repeated_header

SINGLE_VALUED = frozenset(
    {
        "authorization",
        "content-type",
        "host",
        "idempotency-key",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    }
)
"""Headers of one value that decide how a request is handled, in addition to those of messages."""
MESSAGE_HEADER_PREFIXES = ("ce-", "prebook-")


def refuse_repeated_headers(app: ASGIApp) -> ASGIApp:
    """Return ``app``, which raises Problem (400) for a request with two lines of a header that has one value.

    Source: RFC 9110, section 5.3.
    """

    async def check(scope: Scope, receive: Receive, send: Send) -> None:
        names = [name for name, _ in scope["headers"]]
        if len(set(names)) < len(names):
            _check_names([name.decode("latin-1") for name in names])
        await app(scope, receive, send)

    return check


def _check_names(names: list[str]) -> None:
    for name in sorted(set(names)):
        if (name in SINGLE_VALUED or name.startswith(MESSAGE_HEADER_PREFIXES)) and names.count(name) > 1:
            raise repeated_header(name, names.count(name))
