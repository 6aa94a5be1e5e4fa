"""What is concluded about poison, and the experiment as a user runs it, at a small size."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from prebook.lab.experiments import worker
from prebook.lab.experiments.poison import consumer
from prebook.lab.experiments.poison.consumer import PoisonWorkerSpec
from prebook.lab.experiments.poison.consumer_process import START_TIMEOUT_S
from prebook.lab.experiments.poison.messages import MEASURED, POISON, messages
from prebook.lab.experiments.poison.model import (
    EXPECTED_PARKED,
    MAX_ATTEMPTS,
    SIDES,
    LatencyQuantiles,
    ParkedPoison,
    PoisonKind,
    PoisonLoad,
    PoisonRun,
    latency_quantiles,
    median_confidence,
    percentile,
    poison_summaries,
)
from prebook.messaging.codec import decode
from prebook.messaging.errors import Malformed

LOAD = PoisonLoad(messages=40, rate_per_s=200.0, warm_up=5, seed=3)
SMALL = ("--json", "--messages", "40", "--rate", "200", "--rounds", "1", "--seed", "3")


@pytest.mark.parametrize(("messages", "rate_per_s"), [(1000, 100.0), (20_000, 100.0), (20_000, 5000.0), (20, 1.0)])
def test_a_consumer_lives_longer_than_its_run_may_take(
    messages: int, rate_per_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives: list[float] = []
    monkeypatch.setattr(worker, "run_worker", lambda *_, timeout_s: lives.append(timeout_s))
    load = PoisonLoad(messages=messages, rate_per_s=rate_per_s, seed=3)
    consumer.run(PoisonWorkerSpec(load=load, run="r", queue="q", amqp_url="", env={}, progress_path="", log_file=""))
    said_s = messages / rate_per_s
    done_s = messages / 100
    assert load.timeout_s > done_s
    assert lives[0] > said_s + done_s + START_TIMEOUT_S


def arm(poison: PoisonKind, number: int, p99: float, beside: float = 10.0, **changes: Any) -> PoisonRun:
    given: dict[str, Any] = {
        "handled": len(SIDES) * LOAD.messages,
        "doubled": 0,
        "parked": [EXPECTED_PARKED[poison]] if poison in EXPECTED_PARKED else [],
        "others": LatencyQuantiles(p50=1.0, p99=p99, max=p99),
        "control": LatencyQuantiles(p50=1.0, p99=beside, max=beside),
        "lag_p99_ms": 0.1,
    }
    return PoisonRun(poison=poison, round=number, **{**given, **changes})


def test_a_poisoned_side_is_compared_with_the_one_beside_it() -> None:
    ratios = {PoisonKind.ALWAYS_FAILING: [(11.0, 10.0), (60.0, 50.0), (26.0, 20.0)], PoisonKind.NONE: [(5.0, 10.0)] * 3}
    arms = [arm(kind, n, *ratios.get(kind, [(13.0, 10.0)] * 3)[n]) for n in range(3) for kind in PoisonKind]
    found = {one.poison: one for one in poison_summaries(arms)}
    failing = found[PoisonKind.ALWAYS_FAILING]
    none = found[PoisonKind.NONE]
    assert (failing.ratio.low, failing.ratio.median, failing.ratio.high) == (1.1, 1.2, 1.3)
    assert failing.within_limit
    assert (none.ratio.median, none.attempts, none.cause) == (0.5, 0, "")
    assert not found[PoisonKind.MALFORMED].within_limit


def test_times_are_milliseconds() -> None:
    assert latency_quantiles([n / 1000 for n in range(1, 101)]) == LatencyQuantiles(p50=50.0, p99=99.0, max=100.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"handled": len(SIDES) * LOAD.messages - 1},
        {"doubled": 1},
        {"parked": []},
        {"parked": [ParkedPoison("attempts_exhausted", MAX_ATTEMPTS - 1)]},
        {"parked": [EXPECTED_PARKED[PoisonKind.ALWAYS_FAILING]] * 2},
    ],
)
def test_a_count_that_is_not_as_expected_is_noticed(changes: dict[str, Any]) -> None:
    assert arm(PoisonKind.ALWAYS_FAILING, 1, 1.0).is_as_expected(LOAD)
    assert not arm(PoisonKind.ALWAYS_FAILING, 1, 1.0, **changes).is_as_expected(LOAD)


def test_poison_without_anything_parked_would_be_noticed_too() -> None:
    assert not arm(PoisonKind.NONE, 1, 1.0, parked=[EXPECTED_PARKED[PoisonKind.MALFORMED]]).is_as_expected(LOAD)


@pytest.mark.parametrize("poison", PoisonKind)
def test_one_message_in_the_middle_is_what_its_kind_says(poison: PoisonKind) -> None:
    said = list(messages(LOAD, poison, "run"))
    measured = [name for name, _ in said if name.startswith(MEASURED)]
    assert len(measured) == len(set(measured)) == LOAD.messages
    poisoned = [(at, wire) for at, (name, wire) in enumerate(said) if name == POISON]
    assert len(poisoned) == (poison in EXPECTED_PARKED)
    for at, wire in poisoned:
        assert at == LOAD.warm_up + LOAD.messages // 2
        assert _cause(wire) == (EXPECTED_PARKED[poison].cause if poison is not PoisonKind.ALWAYS_FAILING else "")


def test_every_round_has_each_kind_once_in_an_order_of_its_own() -> None:
    rounds = [LOAD.shuffled_kinds(number) for number in range(1, 6)]
    assert all(sorted(arms) == sorted(PoisonKind) for arms in rounds)
    assert len({tuple(arms) for arms in rounds}) > 1
    assert rounds == [LOAD.shuffled_kinds(number) for number in range(1, 6)], "and the seed says which"


@pytest.mark.parametrize(
    ("values", "share", "expected"), [(range(1, 101), 0.99, 99), (range(1, 101), 0.5, 50), ([7], 0.99, 7)]
)
def test_a_percentile_is_one_of_the_values(values: Sequence[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_five_rounds_cover_the_median_nineteen_times_in_twenty_or_so() -> None:
    assert median_confidence(5) == 0.9375


@pytest.mark.real
def test_the_experiment_parks_the_poison_and_handles_the_others(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PREBOOK_STACK"}
    command = [sys.executable, "-m", "prebook.cli", "lab", "poison", *SMALL]
    ran = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout)
    assert told["as_expected"]
    arms = msgspec.convert(told["runs"], list[PoisonRun])
    assert len(arms) == len(PoisonKind)
    assert {one.poison: one.parked for one in arms} == {
        **{k: [f] for k, f in EXPECTED_PARKED.items()},
        PoisonKind.NONE: [],
    }
    assert {(one.handled, one.doubled) for one in arms} == {(80, 0)}


def _cause(wire: Any) -> str:
    try:
        decode(wire)
    except Malformed as malformed:
        return malformed.cause
    return ""
