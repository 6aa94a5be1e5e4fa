"""Circuit breaker and retry budget."""

from prebook.patterns.breaker import Breaker
from prebook.patterns.budget import RetryBudget


def open_breaker(at: float = 0.0) -> Breaker:
    breaker = Breaker(threshold=3, cool_down_s=2.0)
    for _ in range(3):
        breaker = breaker.failed(at)
    return breaker


def test_the_circuit_opens_after_consecutive_failures_only() -> None:
    breaker = Breaker(threshold=3).failed(0.0).failed(0.0).succeeded().failed(0.0).failed(0.0)

    assert breaker.wait_s(0.0) == 0.0
    assert breaker.failed(0.0).wait_s(0.0) > 0.0


def test_one_probe_passes_after_the_cool_down() -> None:
    breaker = open_breaker()

    assert breaker.wait_s(1.5) == 0.5
    assert breaker.wait_s(2.0) == 0.0
    assert breaker.tried(2.0).wait_s(2.0) == 2.0


def test_a_successful_probe_closes_the_circuit_and_a_failed_one_reopens_it() -> None:
    probing = open_breaker().tried(2.0)

    assert probing.succeeded().wait_s(2.1) == 0.0
    assert probing.failed(2.25).wait_s(2.25) == 2.0


def test_retries_are_a_share_of_the_requests() -> None:
    budget = RetryBudget(ratio=0.1, burst=10.0, saved=0.0)
    retries = 0
    for _ in range(1000):
        budget = budget.earned()
        if budget.allows_retry:
            budget = budget.spent()
            retries += 1

    assert 95 <= retries <= 100


def test_saved_retries_are_bounded() -> None:
    budget = RetryBudget(ratio=1.0, burst=3.0, saved=0.0)
    for _ in range(50):
        budget = budget.earned()

    assert budget.saved == 3.0
