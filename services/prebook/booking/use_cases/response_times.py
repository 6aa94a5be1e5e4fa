"""Times of this process's recent responses to riders, for observers."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from prebook.booking.store import Clock, PlanClock
from prebook.contracts.booking import ClockFigures
from prebook.contracts.plan import Coupling, Plan
from prebook.patterns.quantile import nearest_rank

MAX_RESPONSES = 20_000
"""Responses that are remembered; at 150 rides a second, those of two minutes."""
MS_PER_S = 1000.0
PlanKey = tuple[tuple[str, Coupling], ...]


class _Response(NamedTuple):
    at_s: float
    plan: PlanKey
    ms: float


class ResponseTimes:
    """Waiting times of riders for the successful responses of this process, by plan."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: seconds of a clock that never goes back."""
        self._clock = clock
        self._responses: deque[_Response] = deque(maxlen=MAX_RESPONSES)

    def now(self) -> float:
        """Return the time on the clock of ``record``."""
        return self._clock()

    def record(self, plan: Plan, since_s: float) -> None:
        """Remember a response that leaves now, to a request that arrived at ``since_s`` on the clock of ``now``."""
        now_s = self._clock()
        self._responses.append(_Response(now_s, tuple(plan.items()), (now_s - since_s) * MS_PER_S))

    def within(self, window_s: float) -> Sequence[PlanClock]:
        """Return the exact quantiles of the responses of the last ``window_s`` seconds, by plan."""
        by_plan: Mapping[PlanKey, list[float]] = defaultdict(list)
        for response in reversed(self._responses):
            if response.at_s < self._clock() - window_s:
                break
            by_plan[response.plan].append(response.ms)
        return [PlanClock(dict(plan), Clock.ACCEPTED, _figures(sorted(values))) for plan, values in by_plan.items()]


def _figures(ordered: Sequence[float]) -> ClockFigures:
    return ClockFigures(len(ordered), round(nearest_rank(ordered, 50), 3), round(nearest_rank(ordered, 99), 3))
