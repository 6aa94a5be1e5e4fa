"""Trace context: the ``traceparent`` header, which joins all messages and calls of a conversation.

Source: W3C Trace Context.
"""

import re
import secrets

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}\Z")


def new_traceparent() -> str:
    """Return the header of a new trace."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def child_traceparent(traceparent: str) -> str:
    """Return the header of the next span of a trace; of a new trace if ``traceparent`` is missing or malformed."""
    match = _TRACEPARENT.match(traceparent)
    return f"00-{match[1]}-{secrets.token_hex(8)}-01" if match else new_traceparent()


def trace_id(traceparent: str) -> str:
    """Return the trace id of a header; empty if it is missing or malformed."""
    match = _TRACEPARENT.match(traceparent)
    return match[1] if match else ""
