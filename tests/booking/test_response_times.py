"""Times of responses to riders: exact, by plan, and of the window only."""

from prebook.booking.store import Clock, PlanClock
from prebook.booking.use_cases.response_times import MAX_RESPONSES, ResponseTimes
from prebook.contracts.booking import ClockFigures
from prebook.contracts.plan import Coupling

ONE_WAY = {"quote_fare": Coupling.ONE_WAY}
SYNC = {"quote_fare": Coupling.SYNC_API}


class ManualClock:
    """Seconds that pass when told."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_quantiles_are_exact_and_of_the_window() -> None:
    clock = ManualClock()
    times = ResponseTimes(clock)
    times.record(ONE_WAY, clock() - 9.0)
    clock.now_s += 61
    for ms in range(1, 101):
        times.record(ONE_WAY, clock() - ms / 1000)
    times.record(SYNC, clock() - 0.2)
    assert times.within(60) == [
        PlanClock(SYNC, Clock.ACCEPTED, ClockFigures(1, 200.0, 200.0)),
        PlanClock(ONE_WAY, Clock.ACCEPTED, ClockFigures(100, 50.0, 99.0)),
    ]
    clock.now_s += 61
    assert times.within(60) == []


def test_memory_is_bounded() -> None:
    times = ResponseTimes()
    for _ in range(MAX_RESPONSES + 1):
        times.record(ONE_WAY, times.now())
    ((_, _, figures),) = times.within(3600)
    assert figures.count == MAX_RESPONSES
