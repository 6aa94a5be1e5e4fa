"""Load, statistics and laws of the poison experiment. No server."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from prebook.lab.experiments import worker
from prebook.lab.experiments.law import LawVerdict
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
    PoisonSummary,
    latency_quantiles,
    median_confidence,
    percentile,
    poison_summaries,
)
from prebook.lab.experiments.poison.registration import PARKED, count_checks, ratio_checks, requeue_checks
from prebook.lab.experiments.poison.requeue import RequeueCounts
from prebook.messaging.codec import decode
from prebook.messaging.errors import Malformed

LOAD = PoisonLoad(messages=40, rate_per_s=200.0, warm_up=5, seed=3)


@pytest.mark.parametrize(("messages", "rate_per_s"), [(1000, 100.0), (20_000, 100.0), (20_000, 5000.0), (20, 1.0)])
def test_the_time_limit_of_a_consumer_exceeds_that_of_its_run(
    messages: int, rate_per_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_limits: list[float] = []
    monkeypatch.setattr(worker, "run_worker", lambda *_, timeout_s: time_limits.append(timeout_s))
    load = PoisonLoad(messages=messages, rate_per_s=rate_per_s, seed=3)
    consumer.run(PoisonWorkerSpec(load=load, run="r", queue="q", amqp_url="", env={}, progress_path="", log_file=""))
    publishing_s = messages / rate_per_s
    handling_s = messages / 100
    assert load.timeout_s > handling_s
    assert time_limits[0] > publishing_s + handling_s + START_TIMEOUT_S


def poison_run(poison: PoisonKind, number: int, p99: float, control_p99: float = 10.0, **changes: Any) -> PoisonRun:
    defaults: dict[str, Any] = {
        "handled": len(SIDES) * LOAD.messages,
        "duplicated": 0,
        "parked": [EXPECTED_PARKED[poison]] if poison in EXPECTED_PARKED else [],
        "others": LatencyQuantiles(p50=1.0, p99=p99, max=p99),
        "control": LatencyQuantiles(p50=1.0, p99=control_p99, max=control_p99),
        "lag_p99_ms": 0.1,
    }
    return PoisonRun(poison=poison, round=number, **{**defaults, **changes})


def rounds_of(ratios: Mapping[PoisonKind, Sequence[float]], rounds: int) -> list[PoisonSummary]:
    """Summaries of runs with these ratios, or 1.0, of p99 latencies to that of the control."""
    runs = [
        poison_run(kind, number, 10.0 * ratios.get(kind, [1.0] * rounds)[number])
        for number in range(rounds)
        for kind in PoisonKind
    ]
    return poison_summaries(runs)


def test_the_ratio_compares_the_poisoned_side_with_the_control() -> None:
    summaries = {each.poison: each for each in rounds_of({PoisonKind.ALWAYS_FAILING: [1.1, 1.2, 1.3]}, 3)}
    failing = summaries[PoisonKind.ALWAYS_FAILING]
    assert (failing.ratio.low, failing.ratio.median, failing.ratio.high) == (1.1, 1.2, 1.3)
    assert (summaries[PoisonKind.NONE].attempts, summaries[PoisonKind.NONE].cause) == (0, "")


@pytest.mark.parametrize(
    ("failing", "none", "verdict"),
    [
        ([0.9, 1.0, 1.1, 1.1, 1.2], [1.0] * 5, LawVerdict.HELD),
        ([1.3, 1.3, 1.4, 1.5, 1.6], [1.0] * 5, LawVerdict.VIOLATED),
        ([0.9, 1.0, 1.1, 1.1, 1.3], [1.0] * 5, LawVerdict.INCONCLUSIVE),
        ([0.9, 1.0, 1.3, 1.3, 1.3], [1.0] * 5, LawVerdict.INCONCLUSIVE),
        ([1.3, 1.3, 1.4, 1.5, 1.6], [1.0] * 4 + [1.5], LawVerdict.INCONCLUSIVE),
        ([1.3, 1.3, 1.4], [1.0] * 3, LawVerdict.INCONCLUSIVE),
        ([1.0], [1.0], LawVerdict.INCONCLUSIVE),
    ],
)
def test_a_ratio_is_judged_by_enough_rounds_on_one_side_of_the_limit(
    failing: list[float], none: list[float], verdict: LawVerdict
) -> None:
    summaries = rounds_of({PoisonKind.ALWAYS_FAILING: failing, PoisonKind.NONE: none}, len(failing))
    checks = {check.arrangement: check for check in ratio_checks(summaries, len(failing))}
    assert checks["always failing"].verdict is verdict
    assert bool(checks["always failing"].doubt) is (verdict is LawVerdict.INCONCLUSIVE)
    assert "crashing" not in checks


def test_latency_quantiles_are_in_milliseconds() -> None:
    assert latency_quantiles([n / 1000 for n in range(1, 101)]) == LatencyQuantiles(p50=50.0, p99=99.0, max=100.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"handled": len(SIDES) * LOAD.messages - 1},
        {"duplicated": 1},
        {"parked": []},
        {"parked": [ParkedPoison("attempts_exhausted", MAX_ATTEMPTS - 1)]},
        {"parked": [EXPECTED_PARKED[PoisonKind.ALWAYS_FAILING]] * 2},
    ],
)
def test_an_unexpected_count_is_detected(changes: dict[str, Any]) -> None:
    assert contradicted(poison_run(PoisonKind.ALWAYS_FAILING, 1, 1.0)) == []
    assert len(contradicted(poison_run(PoisonKind.ALWAYS_FAILING, 1, 1.0, **changes))) == 1


def test_a_dead_letter_in_a_control_run_is_unexpected() -> None:
    run = poison_run(PoisonKind.NONE, 1, 1.0, parked=[EXPECTED_PARKED[PoisonKind.MALFORMED]])
    assert contradicted(run) == [PARKED]


def contradicted(run: PoisonRun) -> list[str]:
    return [check.law for check in count_checks(LOAD, [run]) if not check.is_as_expected]


def test_a_message_that_is_requeued_for_ever_violates_both_laws() -> None:
    requeued = RequeueCounts(attempts=900, parked=0, others=50, seconds=1.0)
    assert [check.verdict for check in requeue_checks(requeued)] == [LawVerdict.VIOLATED] * 2
    stopped = RequeueCounts(attempts=MAX_ATTEMPTS, parked=1, others=50, seconds=1.0)
    assert all("nothing was shown" in check.problem for check in requeue_checks(stopped))


@pytest.mark.parametrize("poison", PoisonKind)
def test_the_poison_message_is_in_the_middle_and_fails_as_its_kind_says(poison: PoisonKind) -> None:
    published = list(messages(LOAD, poison, "run"))
    measured = [name for name, _ in published if name.startswith(MEASURED)]
    assert len(measured) == len(set(measured)) == LOAD.messages
    poisoned = [(position, wire) for position, (name, wire) in enumerate(published) if name == POISON]
    assert len(poisoned) == (poison in EXPECTED_PARKED)
    for position, wire in poisoned:
        assert position == LOAD.warm_up + LOAD.messages // 2
        is_valid = poison in {PoisonKind.ALWAYS_FAILING, PoisonKind.CRASHING}
        assert _cause(wire) == ("" if is_valid else EXPECTED_PARKED[poison].cause)


def test_every_round_has_each_kind_once_in_a_shuffled_order() -> None:
    rounds = [LOAD.shuffled_kinds(number) for number in range(1, 6)]
    assert all(sorted(kinds) == sorted(PoisonKind) for kinds in rounds)
    assert len({tuple(kinds) for kinds in rounds}) > 1
    assert rounds == [LOAD.shuffled_kinds(number) for number in range(1, 6)], "the seed determines the order"


@pytest.mark.parametrize(
    ("values", "share", "expected"), [(range(1, 101), 0.99, 99), (range(1, 101), 0.5, 50), ([7], 0.99, 7)]
)
def test_a_percentile_is_a_value_of_the_sample(values: Sequence[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_the_median_confidence_of_five_rounds_is_94_percent() -> None:
    assert median_confidence(5) == 0.9375


def _cause(wire: Any) -> str:
    try:
        decode(wire)
    except Malformed as malformed:
        return malformed.cause
    return ""
