"""Retry decision: retry a failed message after a delay, or park it. The consumer carries the decision out.

Source: Amazon Builders' Library, "Timeouts, retries and backoff with jitter"; RabbitMQ, dead letter exchanges and TTL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

JITTER_FACTORS = (1.0, 1.2, 1.4)
"""Jitter: a delay is the configured one times one of these factors. Each has its own delay queue, because messages
of different TTL in one queue expire only at its head, so that a long delay would hold back the short ones behind it."""

FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 2.0
OUTAGE_BACKOFF_STEP_S = 0.1
MAX_OUTAGE_BACKOFF_S = 15.0
"""Longest delay in an outage of minutes."""

FIRST_EXTERNAL_BACKOFF_S = 1.0
MAX_EXTERNAL_BACKOFF_S = 3600.0
"""Longest delay between two attempts at an external system, and the longest ``Retry-After`` that is believed."""
MAX_EXTERNAL_ATTEMPTS = 36
"""Attempts at an external system, the first included: the last one comes at least 24 h after the first."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Deliver the message again after a delay."""

    attempt: int
    """Number of the next attempt."""
    delay_s: float


@dataclass(frozen=True, slots=True)
class Park:
    """Dead-letter the message."""

    cause: str
    """Machine-readable code for the reason."""


RetryDecision = Retry | Park


def retry_decision(attempt: int, *, message_id: str, max_attempts: int, backoff_s: Sequence[float]) -> RetryDecision:
    """Decide about a message whose handling has failed.

    ``attempt``: number of the failed attempt, from 1. ``max_attempts``: attempts in total, the first included.
    ``backoff_s``: seconds before the second, third, ... attempt; the last repeats. Deterministic for a message.
    """
    if attempt >= max_attempts:
        return Park("attempts_exhausted")
    delays_s = jittered_delays_s(backoff_before_s(attempt + 1, backoff_s))
    return Retry(attempt + 1, delays_s[_draw_index(message_id, attempt, len(delays_s))])


def external_retry_decision(
    attempt: int, *, message_id: str, retry_after_s: float | None = None, was_called: bool = True
) -> RetryDecision:
    """Decide about a message that a system outside of the suite has not taken: hours of attempts, exponentially rarer.

    ``attempt``: number of the failed attempt, from 1. ``retry_after_s``: seconds that the system asked for. No attempt
    comes sooner, up to MAX_EXTERNAL_BACKOFF_S. ``was_called``: False if the system was spared, which is no attempt.
    Deterministic for a message. Source: Standard Webhooks, "Deliverability and reliability".
    """
    if was_called and attempt >= MAX_EXTERNAL_ATTEMPTS:
        return Park("attempts_exhausted")
    backoff_s = min(MAX_EXTERNAL_BACKOFF_S, FIRST_EXTERNAL_BACKOFF_S * 2.0 ** min(attempt - 1, 32))
    requested_s = min(retry_after_s or 0.0, MAX_EXTERNAL_BACKOFF_S)
    delays_s = jittered_delays_s(max(backoff_s, requested_s) if was_called else requested_s)
    return Retry(attempt + was_called, delays_s[_draw_index(message_id, attempt, len(delays_s))])


def jittered_delays_s(delay_s: float) -> tuple[float, ...]:
    """Return the possible delays of a configured one; messages that failed together are spread over them."""
    return tuple(round(delay_s * factor, 3) for factor in JITTER_FACTORS)


def _draw_index(message_id: str, attempt: int, count: int) -> int:
    """Index derived from the message, not from a random number, so that a decision can be reproduced."""
    return crc32(f"{message_id} {attempt}".encode()) % count


def backoff_before_s(attempt: int, backoff_s: Sequence[float]) -> float:
    """Return the configured seconds before an attempt (2, 3, ...); the last value repeats."""
    return backoff_s[min(attempt - 2, len(backoff_s) - 1)]


@dataclass(frozen=True, slots=True)
class ScheduledAttempt:
    """One attempt of a retry schedule, as if handling took no time."""

    number: int
    delay_s: tuple[float, float]
    """Shortest and longest delay before the attempt, in seconds."""
    at_s: tuple[float, float]
    """Earliest and latest time of the attempt, in seconds since the first."""


def retry_schedule(*, max_attempts: int, backoff_s: Sequence[float]) -> tuple[ScheduledAttempt, ...]:
    """Return all attempts at a message that always fails."""
    attempts = [ScheduledAttempt(1, (0.0, 0.0), (0.0, 0.0))]
    for number in range(2, max_attempts + 1):
        delays_s = jittered_delays_s(backoff_before_s(number, backoff_s))
        earliest_s, latest_s = attempts[-1].at_s
        shortest_s = min(delays_s)
        longest_s = max(delays_s)
        at_s = (round(earliest_s + shortest_s, 3), round(latest_s + longest_s, 3))
        attempts.append(ScheduledAttempt(number, (shortest_s, longest_s), at_s))
    return tuple(attempts)


def exponential_backoff_s(failures: int) -> float:
    """Return the upper bound, in seconds, of the delay after ``failures`` failures; draw a random delay below it.

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (full jitter).
    """
    return min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 32))


def outage_backoff_s(failures: int) -> float:
    """Return the upper bound, in seconds, of the delay after ``failures`` attempts that a long outage has failed.

    Up to about half a minute it is the exponential one. Then it grows slowly, by a few hundredths of the length of the
    outage: rows gather for minutes, and all of them would be tried every two seconds.
    """
    return max(exponential_backoff_s(failures), min(MAX_OUTAGE_BACKOFF_S, OUTAGE_BACKOFF_STEP_S * failures))
