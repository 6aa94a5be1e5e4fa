"""The verdict follows from the numbers alone."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.lab.ledger.discrepancies import Discrepancy, DiscrepancyKind
from prebook.lab.ledger.reconciliation import Ledger
from prebook.lab.load.plans import PLANS
from prebook.lab.quantiles import format_ms, latency_summary
from prebook.lab.report.model import FaultLine, GeneratorLag, OverloadLine, PlanResult, RetriesLine, ScenarioReport
from prebook.lab.report.ranking import is_tied, ranking_of
from prebook.lab.report.verdict import verdict
from tests.lab.report.results import OFFERED, latency_around, result, scenario


@given(st.permutations(list(PLANS)))
def test_the_plan_with_the_lowest_median_is_named_best(order: list[str]) -> None:
    calm = scenario(*(result(label, 20.0 * (position + 1)) for position, label in enumerate(order)))
    findings = [finding.text for finding in verdict([calm]).findings]
    assert any(text.startswith(f"{order[0]} has the best time to outcome") for text in findings)
    assert any(f"slowest is {order[-1]}" in text for text in findings)


def test_a_difference_within_the_spread_is_a_tie() -> None:
    calm = scenario(result("sync_api", 20.0), result("one_way", 20.01), result("mixed", 50.0))
    findings = [finding.text for finding in verdict([calm]).findings]
    assert any("time to outcome: tie of sync_api and one_way" in text for text in findings)


@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=50), st.lists(st.floats(0.1, 1e4), min_size=1, max_size=50))
def test_a_tie_is_symmetric(first: list[float], second: list[float]) -> None:
    assert is_tied(latency_summary(first), latency_summary(second)) == is_tied(
        latency_summary(second), latency_summary(first)
    )


@given(st.dictionaries(st.sampled_from(list(PLANS)), st.floats(0.5, 1e4), min_size=1))
def test_a_ranking_has_a_winner_with_the_lowest_median(medians: dict[str, float]) -> None:
    ranking = ranking_of("time to outcome", [result(label, value) for label, value in medians.items()])
    assert ranking is not None
    assert ranking.best.p50 == min(latency.p50 for latency in ranking.medians.values())
    assert set(ranking.winners) | set(ranking.losers) == set(medians)


def test_findings_name_shortfalls_and_recovery_times() -> None:
    short = Ledger(offered=OFFERED, confirmed=30, refused=7, failed=3)
    down = scenario(result("sync_api", ledger=short), result("one_way", recovery_s=2.5), fault=True)
    outcome = verdict([down])
    findings = "\n".join(finding.text for finding in outcome.findings)
    assert "sync_api answered 30 of 40 rides (7 refused, 3 failed)" in findings
    assert "one_way answered every offered ride" in findings
    assert "one_way 2.5 s" in findings
    assert [line for line in outcome.not_measured if "sync_api" in line]
    assert outcome.ok


def test_trade_offs_name_advantages_and_costs() -> None:
    short = Ledger(offered=OFFERED, confirmed=30, refused=10)
    calm = scenario(result("sync_api", 20.0), result("one_way", 60.0))
    down = scenario(result("sync_api", ledger=short), result("one_way"), fault=True)
    sync, one_way = verdict([calm, down]).trade_offs
    assert any("best time to outcome in calm" in line for line in sync.wins)
    assert sync.costs == ("10 of 40 rides unanswered in pricing_down",)
    assert any(line.startswith("3.0 times the best time to outcome") for line in one_way.costs)
    assert any("answered every ride in pricing_down" in line for line in one_way.wins)


def with_discrepancy(kind: DiscrepancyKind) -> ScenarioReport:
    discrepancy = Discrepancy(kind=kind, label="one_way", key="k", booking_id="bk_planted", detail="planted")
    return msgspec.structs.replace(scenario(result("one_way")), discrepancies=(discrepancy,))


@pytest.mark.parametrize("kind", list(DiscrepancyKind))
def test_every_discrepancy_fails_the_verdict_and_is_named(kind: DiscrepancyKind) -> None:
    outcome = verdict([with_discrepancy(kind)])
    assert not outcome.ok
    assert "bk_planted" in outcome.problems[0]
    assert outcome.headline == f"Campaign failed: 1 problem(s) in {OFFERED} rides."


def test_an_open_ledger_and_a_fault_without_effect_fail_the_verdict() -> None:
    open_ledger = result("one_way", ledger=Ledger(offered=2, confirmed=1, in_flight=1))
    outcome = verdict([scenario(open_ledger), scenario(result("one_way"), fault=True, took_effect=False)])
    assert len(outcome.problems) == 2
    assert not outcome.ok


def bridged(*results: PlanResult) -> ScenarioReport:
    """Pricing is away for 6 of 10 s, less than the deadlines."""
    outage = FaultLine(kind="kill", target="pricing", start_s=2, duration_s=6)
    return msgspec.structs.replace(scenario(*results, fault=True), fault=outage, outage_is_bridged=True)


def with_ledger(label: str, *, accepted: int = OFFERED, **counts: int) -> PlanResult:
    return msgspec.structs.replace(result(label, ledger=Ledger(offered=OFFERED, **counts)), accepted=accepted)


@pytest.mark.parametrize(
    ("results", "named"),
    [
        (
            [with_ledger("one_way", confirmed=OFFERED), with_ledger("sync_api", accepted=30, confirmed=20, failed=20)],
            [],
        ),
        ([with_ledger("async_api", confirmed=OFFERED - 1, expired=1)], ["async_api waits for pricing"]),
        ([with_ledger("request_reply", accepted=39, confirmed=39, refused=1)], ["request_reply waits for pricing"]),
        ([with_ledger("sync_api", confirmed=OFFERED)], ["sync_api calls pricing synchronously, but answered all"]),
        ([with_ledger("mixed", confirmed=OFFERED)], ["mixed calls pricing synchronously, but answered all"]),
    ],
)
def test_plans_that_wait_for_a_provider_must_bridge_its_outage(results: list[PlanResult], named: list[str]) -> None:
    problems = verdict([bridged(*results)]).problems
    assert len(problems) == len(named)
    assert all(text in problem for text, problem in zip(named, problems, strict=True))


def test_few_synchronous_rides_prove_no_outage() -> None:
    few = msgspec.structs.replace(result("sync_api", ledger=Ledger(offered=4, confirmed=4)), accepted=4)
    assert verdict([bridged(few)]).ok


def test_limits_of_validity_are_warnings_and_do_not_fail_the_verdict() -> None:
    lagged = GeneratorLag(lag_ms=latency_around(80), lagged=True)
    calm = msgspec.structs.replace(scenario(result("one_way")), generator=lagged)
    outcome = verdict([msgspec.structs.replace(calm, settle_s=9.0)])
    assert outcome.ok
    assert len(outcome.warnings) == 2


def test_different_outcomes_fail_the_verdict_unless_the_suite_was_overloaded() -> None:
    calm = msgspec.structs.replace(scenario(result("one_way")), outcome_hashes_equal=False)
    refused = with_ledger("one_way", accepted=39, confirmed=39, refused=1)
    lagged = GeneratorLag(lag_ms=latency_around(80), lagged=True)
    busy = [
        msgspec.structs.replace(calm, generator=lagged),
        msgspec.structs.replace(calm, settle_s=9.0),
        msgspec.structs.replace(scenario(refused), outcome_hashes_equal=False),
    ]
    assert "different outcomes" in verdict([calm]).problems[0]
    for scenario_report in busy:
        outcome = verdict([scenario_report])
        assert (outcome.ok, outcome.problems, len(outcome.doubts)) == (False, (), 1)
        assert outcome.headline.startswith("Not judged")


def overloaded(*, refusals: int = 30, without: int = 0, first: int = 20, back_pressure: bool = True) -> ScenarioReport:
    line = OverloadLine(
        capacity_per_s=20.0,
        factor=3.0,
        back_pressure=back_pressure,
        refusals=refusals,
        refusals_without_retry_after=without,
    )
    retries = RetriesLine(riders=25, accepted_on_first_retry=first, accepted_on_any_retry=25)
    return msgspec.structs.replace(
        scenario(result("one_way")), overload=line, retries=retries if refusals else None, outcome_hashes_equal=False
    )


@pytest.mark.parametrize(
    ("report", "named"),
    [
        (overloaded(), ""),
        (overloaded(refusals=0), "no rider was refused at 3 times the capacity"),
        (overloaded(without=2), "2 refusal(s) without a Retry-After"),
        (overloaded(first=12), "Retry-After is not true: 12 of 25 riders"),
        (overloaded(refusals=0, back_pressure=False), ""),
    ],
)
def test_an_overload_is_refused_with_a_true_retry_after(report: ScenarioReport, named: str) -> None:
    problems = verdict([report]).problems
    assert len(problems) == bool(named)
    assert all(named in problem for problem in problems)


def test_an_overload_that_a_lagging_generator_did_not_offer_is_not_judged() -> None:
    lagged = GeneratorLag(lag_ms=latency_around(900), lagged=True, invalid=True, max_lag_ms=500.0)
    outcome = verdict([msgspec.structs.replace(overloaded(refusals=0), generator=lagged)])
    assert (outcome.ok, outcome.problems, len(outcome.doubts)) == (False, (), 1)


def test_a_skipped_scenario_is_named_as_not_measured() -> None:
    outcome = verdict([scenario(result("one_way"))], (), {"overload_unprotected": "no supervisor"})
    assert "overload_unprotected: no supervisor" in outcome.not_measured


def test_a_clock_that_deviates_fails_the_verdict_except_while_a_fault_shifts_it() -> None:
    deviating = msgspec.structs.replace(scenario(result("one_way")), clock_deviation_s=29.9)
    outcome = verdict([deviating])
    assert not outcome.ok
    assert "clock deviates from the load generator's by 29.9 s" in outcome.problems[0]

    skewed = FaultLine(kind="clock_skew", target="booking", start_s=0, duration_s=1)
    shifted = msgspec.structs.replace(scenario(result("one_way"), fault=True), fault=skewed, clock_deviation_s=29.9)
    assert verdict([shifted]).ok


def test_a_generator_without_descriptors_fails_the_verdict() -> None:
    unsent = msgspec.structs.replace(result("one_way"), errors={"timeout": 0, "out_of_descriptors": 7})
    outcome = verdict([scenario(unsent)])
    assert not outcome.ok
    assert "no file descriptor for 7 request(s)" in outcome.problems[0]


def test_times_have_at_most_eight_characters() -> None:
    texts = [format_ms(value) for value in (0.42, 9.96, 12.4, 1234.5, 12350.0)]
    assert texts == ["0.4 ms", "10.0 ms", "12 ms", "1.23 s", "12.35 s"]
    assert all(len(text) <= 8 for text in itertools.chain(texts))
