"""The verdict follows the numbers: change them, and it says something else."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.lab.ledger.discrepancies import Discrepancy, DiscrepancyKind
from prebook.lab.ledger.reconciliation import Ledger
from prebook.lab.load.plans import PLANS
from prebook.lab.quantiles import format_ms, latency_summary
from prebook.lab.report.model import (
    GeneratorLag,
    ScenarioReport,
)
from prebook.lab.report.ranking import is_tied, ranking_of
from prebook.lab.report.verdict import verdict
from tests.lab.report.results import OFFERED, around, result, scenario


@given(st.permutations(list(PLANS)))
def test_whoever_is_quickest_is_named_whatever_its_name(order: list[str]) -> None:
    calm = scenario(*(result(label, 20.0 * (place + 1)) for place, label in enumerate(order)))
    said = [finding.text for finding in verdict([calm]).findings]
    assert any(text.startswith(f"{order[0]} has the best time to outcome") for text in said)
    assert any(f"slowest is {order[-1]}" in text for text in said)


def test_a_difference_within_the_spread_is_a_tie() -> None:
    calm = scenario(result("sync_api", 20.0), result("one_way", 20.01), result("mixed", 50.0))
    said = [finding.text for finding in verdict([calm]).findings]
    assert any("time to outcome is a tie of sync_api and one_way" in text for text in said)


@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=50), st.lists(st.floats(0.1, 1e4), min_size=1, max_size=50))
def test_ties_do_not_depend_on_the_order(one: list[float], other: list[float]) -> None:
    assert is_tied(latency_summary(one), latency_summary(other)) == is_tied(
        latency_summary(other), latency_summary(one)
    )


@given(st.dictionaries(st.sampled_from(list(PLANS)), st.floats(0.5, 1e4), min_size=1))
def test_a_contest_has_a_winner_with_the_least_median(medians: dict[str, float]) -> None:
    of = ranking_of("time to outcome", [result(label, value) for label, value in medians.items()])
    assert of is not None
    assert of.best.p50 == min(latency.p50 for latency in of.medians.values())
    assert set(of.winners) | set(of.losers) == set(medians)


def test_shortfalls_and_recoveries_under_a_fault_are_told() -> None:
    short = Ledger(offered=OFFERED, confirmed=30, refused=7, failed=3)
    down = scenario(result("sync_api", ledger=short), result("one_way", back=2.5), fault=True)
    judged = verdict([down])
    said = "\n".join(finding.text for finding in judged.findings)
    assert "sync_api answered 30 of 40 rides (7 refused, 3 failed)" in said
    assert "one_way answered every ride offered" in said
    assert "one_way 2.5 s" in said
    assert [line for line in judged.not_measured if "sync_api" in line]
    assert judged.ok


def test_trade_offs_name_what_was_won_and_what_it_cost() -> None:
    short = Ledger(offered=OFFERED, confirmed=30, refused=10)
    calm = scenario(result("sync_api", 20.0), result("one_way", 60.0))
    down = scenario(result("sync_api", ledger=short), result("one_way"), fault=True)
    sync, one_way = verdict([calm, down]).trade_offs
    assert any("best time to outcome in calm" in line for line in sync.wins)
    assert sync.costs == ("10 of 40 rides unanswered in pricing_down",)
    assert any(line.startswith("3.0 times the best time to outcome") for line in one_way.costs)
    assert any("answered every ride in pricing_down" in line for line in one_way.wins)


def planted(kind: DiscrepancyKind) -> ScenarioReport:
    found = Discrepancy(kind=kind, label="one_way", key="k", booking_id="bk_planted", detail="planted")
    return msgspec.structs.replace(scenario(result("one_way")), discrepancies=(found,))


@pytest.mark.parametrize("kind", list(DiscrepancyKind))
def test_every_discrepancy_makes_the_run_red_and_is_named(kind: DiscrepancyKind) -> None:
    judged = verdict([planted(kind)])
    assert not judged.ok
    assert "bk_planted" in judged.problems[0]
    assert "does not close" in judged.headline


def test_an_open_ledger_and_a_fault_without_effect_make_the_run_red() -> None:
    waiting = result("one_way", ledger=Ledger(offered=2, confirmed=1, in_flight=1))
    judged = verdict([scenario(waiting), scenario(result("one_way"), fault=True, took_effect=False)])
    assert len(judged.problems) == 2
    assert not judged.ok


def test_what_limits_the_numbers_is_a_warning_and_not_red() -> None:
    lagged = GeneratorLag(lag_ms=around(80), lagged=True)
    calm = msgspec.structs.replace(scenario(result("one_way")), generator=lagged, outcome_hashes_equal=False)
    judged = verdict([msgspec.structs.replace(calm, settle_s=9.0)])
    assert judged.ok
    assert len(judged.warnings) == 3


def test_times_are_short_to_read() -> None:
    shown = [format_ms(value) for value in (0.42, 9.96, 12.4, 1234.5, 12350.0)]
    assert shown == ["0.4 ms", "10.0 ms", "12 ms", "1.23 s", "12.35 s"]
    assert all(len(one) <= 8 for one in itertools.chain(shown))
