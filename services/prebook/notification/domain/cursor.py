"""Cursor of the delivery log: the position of a page's last entry."""

from typing import NamedTuple

CURSOR_PATTERN = "^([A-Za-z0-9_.:-]{1,200}/[a-z]{1,32})?$"
"""Pattern of a cursor; the empty one is the beginning. Opaque to clients, which send it back unchanged."""


class LogPosition(NamedTuple):
    """Position in the log, which is ordered by booking id, then notice, both by code point."""

    booking_id: str
    notice: str


def encode_cursor(position: LogPosition) -> str:
    """Cursor of a position."""
    return "/".join(position)


def decode_cursor(cursor: str) -> LogPosition:
    """Position of a cursor that matches CURSOR_PATTERN."""
    booking_id, _, notice = cursor.partition("/")
    return LogPosition(booking_id, notice)
