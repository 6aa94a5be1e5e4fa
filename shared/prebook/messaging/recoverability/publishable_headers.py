"""Headers of a failed message in a form that can be published again. Pure.

A message may arrive with headers that have a meaning for the broker, or that no longer fit into a frame once the cause
is added. Its dead letter keeps what can be kept, and describes the rest in OMITTED_HEADER.
"""

from collections.abc import Mapping

from prebook.messaging.headers import (
    CONTENT_TYPE_HEADER,
    DEAD_LETTER_HEADERS,
    OMITTED_HEADER,
    is_added_by_broker,
    is_broker_header,
)

MAX_VALUE_BYTES = (4096, 1024, 256)
"""Lengths to which values are cut, tried in turn until the headers fit; ids have at most 200 characters."""
MAX_OMITTED_CHARS = 500
FIELD_OVERHEAD_BYTES = 6
"""Bytes of a header apart from its name and value: length of the name, type and length of the value."""


def publishable_headers(headers: Mapping[str, str], max_bytes: int) -> dict[str, str]:
    """Return the headers without those of the broker, in at most ``max_bytes`` bytes.

    If they are larger, long values are cut, and then headers are left out: first those that are not of the suite.
    """
    removed = {name: value for name, value in headers.items() if is_broker_header(name)}
    notes = [f"{name}: {value} (for the broker)" for name, value in removed.items() if not is_added_by_broker(name)]
    kept = {name: value for name, value in headers.items() if name not in removed}
    if _size(kept) > max_bytes:
        kept, cut = _fit(kept, max_bytes - MAX_OMITTED_CHARS - len(OMITTED_HEADER) - FIELD_OVERHEAD_BYTES)
        notes.insert(0, cut)
    return {**kept, OMITTED_HEADER: _cut("; ".join(notes), MAX_OMITTED_CHARS)} if notes else kept


def _fit(headers: Mapping[str, str], max_bytes: int) -> tuple[dict[str, str], str]:
    """Return headers of at most ``max_bytes`` bytes, and a description of what they lack."""
    shortened = dict(headers)
    for max_value_bytes in MAX_VALUE_BYTES:
        shortened = {name: _cut(value, max_value_bytes) for name, value in headers.items()}
        if _size(shortened) <= max_bytes:
            break
    fitting = {}
    left_bytes = max_bytes
    for name in sorted(shortened, key=_rank):
        size = _size({name: shortened[name]})
        if size <= left_bytes:
            fitting[name] = shortened[name]
            left_bytes -= size
    cut = [name for name, value in fitting.items() if value != headers[name]]
    description = f"of {len(headers)} headers with {_size(headers)} bytes, {len(headers) - len(fitting)} left out"
    return fitting, f"{description}, {len(cut)} cut: {', '.join(cut)}" if cut else description


def _rank(name: str) -> int:
    """Return the position of a header: what dead-lettering added, then the message's own, then those of strangers."""
    if name in DEAD_LETTER_HEADERS:
        return 0
    return 1 if name == CONTENT_TYPE_HEADER or name.startswith(("ce-", "prebook-")) else 2


def _cut(text: str, max_bytes: int) -> str:
    """Return the text, or its beginning and its size if it has more than about ``max_bytes`` bytes of UTF-8."""
    raw = text.encode()
    if len(raw) <= max_bytes:
        return text
    end = f"... of {len(raw)} bytes"
    return raw[: max_bytes - len(end)].decode(errors="ignore") + end


def _size(headers: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) + FIELD_OVERHEAD_BYTES for name, value in headers.items())
