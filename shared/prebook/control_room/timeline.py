"""Timeline of each plan: bookings of the last minutes in bins of a few seconds, from totals of the ledger. Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prebook.contracts.ride import BookingState

BIN_S = 5
BINS = 36
"""Bins that are kept: three minutes."""
ANSWERED = frozenset({BookingState.CONFIRMED.value, BookingState.REJECTED.value, BookingState.CANCELLED.value})
FAILED = frozenset({BookingState.FAILED.value, BookingState.EXPIRED.value})
Ledger = Mapping[str, Mapping[str, int]]
"""Bookings by plan and state."""


@dataclass
class Timeline:
    """Totals of the ledger at the end of each bin. A bin in which nobody looked has no figures."""

    _ends: deque[tuple[int, dict[str, tuple[int, int, int]]]] = field(default_factory=lambda: deque(maxlen=BINS + 1))
    """Number of a bin since 1970, and the totals by plan when it was read last."""

    def note(self, now_s: float, ledger: Ledger) -> dict[str, Any]:
        """Take in the totals of the moment; return the bookings that were accepted, answered and failed in each bin.

        ``now_s``: Unix time. ``from_s``: Unix time at which the first bin began. Bins without figures are null.
        """
        number = int(now_s // BIN_S)
        totals = {plan: _totals(states) for plan, states in ledger.items()}
        if self._ends and self._ends[-1][0] == number:
            self._ends[-1] = (number, totals)
        else:
            self._ends.append((number, totals))
        ends = dict(self._ends)
        first = number - BINS + 1
        plans = {plan: [_growth(ends, plan, each) for each in range(first, number + 1)] for plan in totals}
        return {"bin_s": BIN_S, "from_s": first * BIN_S, "plans": plans}


def _totals(states: Mapping[str, int]) -> tuple[int, int, int]:
    """Return how many bookings were accepted, answered, and failed or expired."""
    answered = sum(states.get(state, 0) for state in ANSWERED)
    failed = sum(states.get(state, 0) for state in FAILED)
    return sum(states.values()), answered, failed


def _growth(ends: Mapping[int, Mapping[str, tuple[int, int, int]]], plan: str, number: int) -> tuple[int, ...] | None:
    if number not in ends or number - 1 not in ends:
        return None
    before = ends[number - 1].get(plan, (0, 0, 0))
    after = ends[number].get(plan, (0, 0, 0))
    return tuple(max(0, now - then) for then, now in zip(before, after, strict=True))
