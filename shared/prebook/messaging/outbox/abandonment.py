"""Abandonment: the decision when a message that receivers keep refusing leaves the outbox unsent."""

from dataclasses import dataclass

from prebook.messaging.errors import Undeliverable, Unreachable

EXPIRED = "expired"
"""Cause of a row that expired before anybody tried to send it."""
UNCONFIRMED = "unconfirmed"
"""Cause of a row that expired after an attempt without an outcome: the message may have been received.

The relay ended between sending and marking, or the receiver's answer was lost. Nobody waits for the message any more,
so it is not sent again; whether it arrived is in the receiver's inbox only.
"""
NACKED = "nacked"
"""``Unreachable.reason`` of a message that the broker refused with a negative acknowledgement."""
MAX_REFUSALS = 12
"""Consecutive permanent refusals before a message is abandoned: about a quarter of a minute of attempts. A starting
broker accepts connections before its queues are back, and reports every message as unroutable until then."""
MAX_NACKS = 600
"""Consecutive negative acknowledgements before a message is abandoned: about a quarter of an hour. A full queue, the
usual reason, drains by itself."""


@dataclass(frozen=True, slots=True)
class AbandonReason:
    """Refusal by a receiver that was reachable. An outage is no refusal, however long it lasts."""

    cause: str
    """Machine-readable code for the refusal, stored with the abandoned row."""
    max_consecutive: int
    """Number of consecutive refusals after which the message is abandoned."""


def abandon_reason(failure: Exception, max_refusals: int = MAX_REFUSALS) -> AbandonReason | None:
    """Return why a failed message may be abandoned; None if the failure is no refusal.

    ``max_refusals``: limit for permanent refusals (``Undeliverable``); negative acknowledgements have ``MAX_NACKS``.
    """
    if isinstance(failure, Undeliverable):
        return AbandonReason(failure.cause, max_refusals)
    if isinstance(failure, Unreachable) and failure.reason == NACKED:
        return AbandonReason(NACKED, MAX_NACKS)
    return None
