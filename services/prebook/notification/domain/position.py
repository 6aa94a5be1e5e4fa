"""Where a reader of the delivery log has got to."""

import base64
from typing import NamedTuple

from prebook.contracts.notification import Notice


class BadCursor(ValueError):
    """A cursor that no page of ours ended with."""


class Position(NamedTuple):
    """The log is read in this order: booking id, then notice, both by code point."""

    booking_id: str
    notice: str


BEGINNING = Position("", "")


def cursor(position: Position) -> str:
    """The position as text that says nothing to its bearer and needs no escaping in a URL."""
    return base64.urlsafe_b64encode("/".join(position).encode()).decode()


def position(cursor: str) -> Position:
    """Raises BadCursor."""
    if not cursor:
        return BEGINNING
    try:
        booking_id, _, notice = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().rpartition("/")
        found = Position(booking_id, Notice(notice).value)
    except ValueError:
        raise BadCursor(cursor) from None
    if not booking_id.isprintable():
        raise BadCursor(cursor)
    return found
