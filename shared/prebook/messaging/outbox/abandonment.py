"""When a message that is refused again and again is given up: a decision, carried out by the relay."""

from dataclasses import dataclass

from prebook.messaging.channel import Undeliverable, Unreachable

NACKED = "nacked"
MOST_REFUSALS = 12
"""What is refused for good is tried so often, within about a quarter of a minute, before it is given up: a broker that
starts takes connections before it has its queues back, and calls everything unroutable meanwhile."""
MOST_NACKS = 600
"""A full queue passes by itself. For about a quarter of an hour of nothing but refusals it is waited for."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Somebody was there and said no. An outage is none, however long it lasts."""

    cause: str
    most: int
    """So many in a row, and the message is given up."""


def refusal(failure: Exception, most_refusals: int = MOST_REFUSALS) -> Refusal | None:
    """None where the failure is no refusal."""
    if isinstance(failure, Undeliverable):
        return Refusal(failure.cause, most_refusals)
    if isinstance(failure, Unreachable) and failure.reason == NACKED:
        return Refusal(NACKED, MOST_NACKS)
    return None
