"""When a message that is refused again and again is given up: a decision, carried out by the relay."""

from dataclasses import dataclass

from prebook.messaging.errors import Undeliverable, Unreachable

NACKED = "nacked"
MAX_REFUSALS = 12
"""What is refused for good is tried so often, within about a quarter of a minute, before it is given up: a broker that
starts takes connections before it has its queues back, and calls everything unroutable meanwhile."""
MAX_NACKS = 600
"""A full queue passes by itself. For about a quarter of an hour of nothing but refusals it is waited for."""


@dataclass(frozen=True, slots=True)
class AbandonReason:
    """Somebody was there and said no. An outage is none, however long it lasts."""

    cause: str
    max_in_a_row: int
    """So many in a row, and the message is given up."""


def abandon_reason(failure: Exception, max_refusals: int = MAX_REFUSALS) -> AbandonReason | None:
    """None where the failure is no refusal."""
    if isinstance(failure, Undeliverable):
        return AbandonReason(failure.cause, max_refusals)
    if isinstance(failure, Unreachable) and failure.reason == NACKED:
        return AbandonReason(NACKED, MAX_NACKS)
    return None
