"""What to do with a message whose handling failed: a decision, carried out by the consumer."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

JITTER_FACTORS = (1.0, 1.2, 1.4)
"""Jitter: a pause lasts one of these times what is configured, and never less than that. Each is a delay queue of its
own, since a queue whose messages had different times to live would let them go at its head only, in order."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Deliver again after a pause; ``attempt`` is the number of the coming attempt."""

    attempt: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Park:
    """Set aside, with a stable word for why."""

    cause: str


RetryDecision = Retry | Park


def retry_decision(attempt: int, *, message_id: str, max_attempts: int, backoff_s: Sequence[float]) -> RetryDecision:
    """``attempt`` is the one that has just failed, counted from 1. ``max_attempts`` counts handlings, not repeats."""
    if attempt >= max_attempts:
        return Park("attempts_exhausted")
    pauses = jittered_delays_s(backoff_before_s(attempt + 1, backoff_s))
    return Retry(attempt + 1, pauses[_draw_index(message_id, attempt, len(pauses))])


def jittered_delays_s(delay_s: float) -> tuple[float, ...]:
    """How long a pause may last. What failed together is spread over them, and anew with every attempt."""
    return tuple(round(delay_s * factor, 3) for factor in JITTER_FACTORS)


def _draw_index(message_id: str, attempt: int, count: int) -> int:
    """By the message and not by chance, so that a decision can be repeated."""
    return crc32(f"{message_id} {attempt}".encode()) % count


def backoff_before_s(attempt: int, backoff_s: Sequence[float]) -> float:
    """Seconds before the given attempt (2, 3, ...); the last pause repeats."""
    return backoff_s[min(attempt - 2, len(backoff_s) - 1)]


@dataclass(frozen=True, slots=True)
class ScheduledAttempt:
    """One line of a schedule. Handling itself takes no time here."""

    number: int
    delay_s: tuple[float, float]
    """At least and at most."""
    at_s: tuple[float, float]
    """Since the first attempt."""


def retry_schedule(*, max_attempts: int, backoff_s: Sequence[float]) -> tuple[ScheduledAttempt, ...]:
    """When each attempt would happen if all failed."""
    attempts = [ScheduledAttempt(1, (0.0, 0.0), (0.0, 0.0))]
    for number in range(2, max_attempts + 1):
        pauses, (earliest_s, latest_s) = jittered_delays_s(backoff_before_s(number, backoff_s)), attempts[-1].at_s
        shortest_s, longest_s = min(pauses), max(pauses)
        at_s = (round(earliest_s + shortest_s, 3), round(latest_s + longest_s, 3))
        attempts.append(ScheduledAttempt(number, (shortest_s, longest_s), at_s))
    return tuple(attempts)


def exponential_backoff_s(failures: int, *, first_s: float = 0.1, max_s: float = 2.0) -> float:
    """Upper bound of the pause after so many failures; draw below it for full jitter."""
    return min(max_s, first_s * 2.0 ** min(failures - 1, 32))
