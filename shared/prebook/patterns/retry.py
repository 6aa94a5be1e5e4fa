"""What to do with a message whose handling failed: a decision, carried out by the consumer."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """Deliver again after a pause; ``attempt`` is the number of the coming attempt."""

    attempt: int
    pause_s: float


@dataclass(frozen=True, slots=True)
class Park:
    """Set aside, with a stable word for why."""

    cause: str


Decision = Retry | Park


def after_failure(attempt: int, *, max_attempts: int, backoff_s: Sequence[float]) -> Decision:
    """``attempt`` is the one that has just failed, counted from 1. ``max_attempts`` counts handlings, not repeats."""
    if attempt >= max_attempts:
        return Park("attempts_used_up")
    return Retry(attempt + 1, pause_before(attempt + 1, backoff_s))


def pause_before(attempt: int, backoff_s: Sequence[float]) -> float:
    """Seconds before the given attempt (2, 3, ...); the last pause repeats."""
    return backoff_s[min(attempt - 2, len(backoff_s) - 1)]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of a schedule. Handling itself takes no time here."""

    number: int
    pause_s: float
    at_s: float
    """Since the first attempt."""


def schedule(*, max_attempts: int, backoff_s: Sequence[float]) -> tuple[Attempt, ...]:
    """When each attempt would happen if all failed."""
    attempts = [Attempt(1, 0.0, 0.0)]
    for number in range(2, max_attempts + 1):
        pause_s = pause_before(number, backoff_s)
        attempts.append(Attempt(number, pause_s, round(attempts[-1].at_s + pause_s, 6)))
    return tuple(attempts)


def exponential(failures: int, *, first_s: float = 0.1, longest_s: float = 2.0) -> float:
    """Upper bound of the pause after so many failures; draw below it for full jitter."""
    return min(longest_s, first_s * 2.0 ** min(failures - 1, 32))
