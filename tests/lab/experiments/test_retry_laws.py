"""Laws of the experiments on retries, on attempts and counts made by hand. No server."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.retries.failing_receiver import MAX_ATTEMPTS, failing_names, failures_of
from prebook.lab.experiments.retries.hot_requeue import BOUNDED, CHEAP, PARKED, PoisonCost, cost_checks
from prebook.lab.experiments.retries.hot_requeue import RIGHT as RIGHT_COST
from prebook.lab.experiments.retries.layers import Provider, serve_layers
from prebook.lab.experiments.retries.retry_schedule import (
    RIGHT,
    attempts_check,
    early_check,
    late_check,
)
from prebook.lab.experiments.retries.retry_storm import (
    WRONG,
    StormRun,
    amplification_check,
    make_layers,
    success_check,
)

START = datetime(2030, 1, 1, tzinfo=UTC)
IN_TIME = (0.0, 0.25, 1.4, 2.5)


def at(*seconds: float) -> Sequence[datetime]:
    return [START + timedelta(seconds=each) for each in seconds]


@pytest.mark.parametrize(
    ("attempts", "verdict"),
    [
        ({"a.0": at(0), "b.1": at(0, 0.2)}, LawVerdict.HELD),
        ({"a.0": at(0), f"b.{MAX_ATTEMPTS}": at(*IN_TIME)}, LawVerdict.HELD),
        ({"a.0": at(0), "b.1": at(0)}, LawVerdict.VIOLATED),
        ({"a.0": at(0, 0.2)}, LawVerdict.VIOLATED),
        ({"a.0": at()}, LawVerdict.VIOLATED),
        ({f"b.{MAX_ATTEMPTS}": at(*IN_TIME, 3.6)}, LawVerdict.VIOLATED),
    ],
)
def test_attempts_are_one_more_than_failures_up_to_the_limit(
    attempts: dict[str, Sequence[datetime]], verdict: LawVerdict
) -> None:
    assert attempts_check(RIGHT, attempts).verdict is verdict


@pytest.mark.parametrize(
    ("times", "early"),
    [(at(*IN_TIME), 0), (at(0, 0.199, 1.4), 1), (at(0, 0.25, 1.24), 1), (at(0, 0.001, 0.002, 0.003), 3), (at(0), 0)],
)
def test_attempts_before_their_shortest_delay_are_early(times: Sequence[datetime], early: int) -> None:
    check = early_check(RIGHT, {"a.3": times})
    assert (check.left.value, check.verdict is LawVerdict.HELD) == (early, early == 0)


@pytest.mark.parametrize(
    ("times", "doubt", "verdict"),
    [
        (at(*IN_TIME), "", LawVerdict.HELD),
        (at(0, 0.53, 2.18, 3.83), "", LawVerdict.HELD),
        (at(0, 0.54, 1.7, 2.8), "", LawVerdict.VIOLATED),
        (at(0, 0.2, 1.2, 2.9), "", LawVerdict.VIOLATED),
        (at(0, 0.2, 1.2, 2.9), "busy", LawVerdict.INCONCLUSIVE),
    ],
)
def test_attempts_after_their_longest_delay_are_late(
    times: Sequence[datetime], doubt: str, verdict: LawVerdict
) -> None:
    assert late_check({"a.3": times}, doubt).verdict is verdict


def test_names_fail_from_never_to_always_and_never_twice_in_a_row() -> None:
    failures = [failures_of(name) for name in failing_names(f"m{number}" for number in range(9))]
    assert failures == [0, 1, 0, 2, 0, 3, 0, 4, 0]


def test_a_storm_is_judged_by_calls_per_request_and_by_success() -> None:
    assert amplification_check("", StormRun(requests=100, succeeded=0, calls=110)).verdict is LawVerdict.HELD
    assert amplification_check("", StormRun(requests=100, succeeded=0, calls=111)).verdict is LawVerdict.VIOLATED
    assert success_check("", StormRun(requests=100, succeeded=99, calls=100)).verdict is LawVerdict.HELD
    assert success_check("", StormRun(requests=100, succeeded=98, calls=100)).verdict is LawVerdict.VIOLATED


@pytest.mark.parametrize(
    ("arrangement", "failing_share", "calls", "succeeded"),
    [(WRONG, 1.0, 27 * 20, 0), (RIGHT, 1.0, 22, 0), (WRONG, 0.0, 20, 20), (RIGHT, 0.0, 20, 20)],
)
async def test_attempts_multiply_through_layers_unless_one_has_a_budget(
    arrangement: str, failing_share: float, calls: int, succeeded: int
) -> None:
    provider = Provider(failing_share, random.Random(7))
    async with serve_layers(provider, make_layers(arrangement)) as client:
        await asyncio.gather(*(client.send() for _ in range(20)))
    assert (provider.calls, client.succeeded) == (calls, succeeded)


@pytest.mark.parametrize(
    ("deliveries", "parked", "processors", "violated"),
    [
        (MAX_ATTEMPTS, 2, 0.1, []),
        (MAX_ATTEMPTS + 1, 2, 0.1, [BOUNDED]),
        (MAX_ATTEMPTS, 1, 0.1, [PARKED]),
        (MAX_ATTEMPTS, 2, 0.14, [CHEAP]),
    ],
)
def test_a_message_that_always_fails_is_bounded_parked_and_cheap(
    deliveries: int, parked: int, processors: float, violated: list[str]
) -> None:
    used = {"broker": processors, "receiver": 0.12}
    cost = PoisonCost({"poison": deliveries}, parked, handled=5, per_s=0.5, processors=used)
    checks = list(cost_checks(RIGHT_COST, cost, ""))
    assert [check.law for check in checks if check.verdict is LawVerdict.VIOLATED] == violated
    assert all(check.expected is LawVerdict.HELD for check in checks)
    assert [check.verdict for check in cost_checks(RIGHT_COST, cost, "busy")][-1] is LawVerdict.INCONCLUSIVE
