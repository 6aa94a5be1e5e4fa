"""Where a reader of the delivery log has got to."""

from typing import NamedTuple

CURSOR_PATTERN = "^([A-Za-z0-9_.:-]{1,200}/[a-z]{1,32})?$"
"""What a cursor looks like; the empty one is the beginning. A reader hands it back and need not look into it."""


class LogPosition(NamedTuple):
    """The log is read in this order: booking id, then notice, both by code point."""

    booking_id: str
    notice: str


START = LogPosition("", "")


def encode_cursor(position: LogPosition) -> str:
    return "/".join(position)


def decode_cursor(cursor: str) -> LogPosition:
    """Of a cursor that looks like one."""
    booking_id, _, notice = cursor.partition("/")
    return LogPosition(booking_id, notice)
