"""W3C Trace Context: the one header that joins the hops of a conversation."""

import re
import secrets

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}\Z")


def new_traceparent() -> str:
    """A new trace."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def child_traceparent(traceparent: str) -> str:
    """The next hop of the same trace; a new trace where the header is missing or malformed."""
    form = _TRACEPARENT.match(traceparent)
    return f"00-{form[1]}-{secrets.token_hex(8)}-01" if form else new_traceparent()


def trace_id(traceparent: str) -> str:
    form = _TRACEPARENT.match(traceparent)
    return form[1] if form else ""
