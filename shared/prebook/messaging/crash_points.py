"""Crash points: the moments at which a crash leaves the most to repair. The lab ends a process at them.

In production nothing is armed, and reaching a point costs a function call.
"""

from collections.abc import Callable
from enum import StrEnum


class CrashPoint(StrEnum):
    """A moment in the handling, sending or calling of a message."""

    RECEIVED = "received"
    """A message has arrived, and nothing has been done for it."""
    BEFORE_COMMIT = "before_commit"
    """Everything is written, but the transaction is not committed."""
    AFTER_COMMIT = "after_commit"
    """The transaction is committed, and nobody has been told."""
    BEFORE_ACK = "before_ack"
    """The effect of a message is committed, and the broker will deliver the message again."""
    AFTER_ACK = "after_ack"
    """The acknowledgement is on its way to the broker."""
    BEFORE_SEND = "before_send"
    """A row of the outbox is leased and not sent."""
    AFTER_SEND = "after_send"
    """The receiver or the broker has confirmed a message that the outbox does not know to be sent."""
    BEFORE_MARK = "before_mark"
    """Several sent rows are about to be marked as sent."""
    AFTER_MARK = "after_mark"
    """Rows are marked as sent, and their leases have not ended."""
    BEFORE_CALL = "before_call"
    """A synchronous call is about to be made for a request that is not in the outbox."""
    AFTER_CALL = "after_call"
    """The response of a synchronous call has arrived, and its reply is not handled."""
    BEFORE_RESPONSE = "before_response"
    """The reply to a synchronous call is committed, and the caller does not have it."""


OnReached = Callable[[CrashPoint, str], None]
"""Function that gets the point and the message id given to ``reach``, and may end the process."""
_armed: tuple[OnReached, ...] = ()


def arm(on_reached: OnReached) -> None:
    """Call ``on_reached`` at every crash point that this process reaches from now on."""
    global _armed  # noqa: PLW0603 - whatever is armed crashes this process
    _armed = (*_armed, on_reached)


def reach(point: CrashPoint, message_id: str = "") -> None:
    """Mark the place of ``point`` in the code. ``message_id``: that of the received message, at RECEIVED only."""
    for on_reached in _armed:
        on_reached(point, message_id)
