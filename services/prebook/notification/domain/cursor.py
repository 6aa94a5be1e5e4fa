"""Where a reader of the delivery log has got to."""

from typing import NamedTuple

CURSOR = "^([A-Za-z0-9_.:-]{1,200}/[a-z]{1,32})?$"
"""What a cursor looks like; the empty one is the beginning. A reader hands it back and need not look into it."""


class Position(NamedTuple):
    """The log is read in this order: booking id, then notice, both by code point."""

    booking_id: str
    notice: str


BEGINNING = Position("", "")


def cursor(position: Position) -> str:
    return "/".join(position)


def position(cursor: str) -> Position:
    """Of a cursor that looks like one."""
    booking_id, _, notice = cursor.partition("/")
    return Position(booking_id, notice)
