"""Trace context: the headers ``traceparent`` and ``tracestate``, which join all messages and calls of a conversation.

Source: W3C Trace Context.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

TRACEPARENT_HEADER = "traceparent"
TRACESTATE_HEADER = "tracestate"
MAX_TRACESTATE_MEMBERS = 32
MAX_TRACESTATE_CHARACTERS = 512
"""Longer values are dropped: every message of a ride carries and stores them."""
SPAN_ID_DIGITS = 16
SAMPLED = 0x01
RANDOM_TRACE_ID = 0x02

_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace_id>(?!0{32})[0-9a-f]{32})-(?P<parent_id>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<rest>-[^,]*)?\Z"
)
_TRACESTATE_MEMBER = re.compile(
    r"([a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]\Z"
)


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Position in a trace, as headers of version 00; both are empty if there is no trace."""

    traceparent: str = ""
    tracestate: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self:
        """Return the context of received headers; an empty one without a valid ``traceparent``.

        A repeated header has its values joined by commas: then ``traceparent`` is invalid, and ``tracestate`` is one
        list. An invalid ``tracestate`` alone is dropped.
        """
        parsed = _parse(headers.get(TRACEPARENT_HEADER, "").strip(" \t"))
        if parsed is None:
            return cls()
        flags = int(parsed["flags"], 16) & (SAMPLED | RANDOM_TRACE_ID)
        traceparent = f"00-{parsed['trace_id']}-{parsed['parent_id']}-{flags:02x}"
        return cls(traceparent, _valid_tracestate(headers.get(TRACESTATE_HEADER, "")))

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers to send."""
        pairs = {TRACEPARENT_HEADER: self.traceparent, TRACESTATE_HEADER: self.tracestate}
        return {name: value for name, value in pairs.items() if value}

    def child(self) -> Self:
        """Return the context of the next span: in this trace, with its flags and state, or in a new trace if empty."""
        parsed = _parse(self.traceparent)
        if parsed is None:
            return type(self)(new_traceparent())
        return self.at_span(secrets.token_hex(8))

    def at_span(self, span: str) -> Self:
        """Return the context of another span of this trace, by its id; an empty context stays empty."""
        parsed = _parse(self.traceparent)
        if parsed is None:
            return self
        return type(self)(f"00-{parsed['trace_id']}-{span}-{parsed['flags']}", self.tracestate)


NO_TRACE = TraceContext()


def new_traceparent() -> str:
    """Return the header of a new trace."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def trace_id(traceparent: str) -> str:
    """Return the trace id of a header; empty if it is missing or invalid."""
    parsed = _parse(traceparent)
    return parsed["trace_id"] if parsed else ""


def span_id(traceparent: str) -> str:
    """Return the span id of a header; empty if it is missing or invalid."""
    parsed = _parse(traceparent)
    return parsed["parent_id"] if parsed else ""


def is_sampled(traceparent: str) -> bool:
    """Return whether the trace of a header is recorded; false if the header is missing or invalid."""
    parsed = _parse(traceparent)
    return parsed is not None and bool(int(parsed["flags"], 16) & SAMPLED)


def derive_span_id(*parts: str) -> str:
    """Return the id of a span that is named by ``parts``: the same parts have the same id in every process."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:SPAN_ID_DIGITS]


def _parse(traceparent: str) -> re.Match[str] | None:
    """Parse a header of any version but ff. Only later versions than 00 may have further fields."""
    match = _TRACEPARENT.match(traceparent)
    return None if match is None or (match["rest"] and match["version"] == "00") else match


def _valid_tracestate(text: str) -> str:
    """Return the list without empty members and spaces; empty if it is malformed, has a key twice or is too long."""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    keys = {member.partition("=")[0] for member in members}
    tracestate = ",".join(members)
    is_valid = (
        len(members) <= MAX_TRACESTATE_MEMBERS
        and len(keys) == len(members)
        and len(tracestate) <= MAX_TRACESTATE_CHARACTERS
        and all(map(_TRACESTATE_MEMBER.match, members))
    )
    return tracestate if is_valid else ""
