"""Whole campaigns against the stub suite: the report finds planted losses, duplicates and faults."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from prebook.contracts.auctions import OfferTotals
from prebook.contracts.plan import Coupling
from tests.lab.campaign.campaign_runs import is_third_one_way_ride, run_campaign
from tests.lab.report.schema import schema_errors
from tests.lab.stub_suite import StubSuite


async def test_without_faults_the_ledger_closes_and_outcomes_are_equal() -> None:
    report = await run_campaign(StubSuite(), "calm")
    calm = report.scenarios[0]
    assert report.verdict is not None
    assert report.verdict.ok
    assert calm.outcome_hashes_equal
    assert calm.totals["offered"] == calm.totals["confirmed"] >= 25
    assert len({result.ledger.offered for result in calm.results}) == 1
    assert all(result.latency_ms.settled.p50 >= 20 for result in calm.results)
    assert sum(map(sum, calm.timeline.answered.values())) == calm.totals["confirmed"]
    assert calm.correlation is not None
    assert (calm.correlation.replies, calm.correlation.miscorrelated) == (calm.totals["confirmed"], 0)
    assert not schema_errors(msgspec.json.encode(report))


async def test_a_report_counts_the_replies_of_each_fleet_to_the_rides_of_each_scenario() -> None:
    report = await run_campaign(StubSuite(), "calm", "pricing_down", duration_s=1.0)
    for scenario in report.scenarios:
        accepted = sum(result.accepted for result in scenario.results)
        offers = scenario.offers
        assert offers is not None
        assert (offers.auctions, offers.completed_by) == (accepted, {"enough": accepted})
        used = OfferTotals(asked=accepted, used=accepted, late=0, duplicate=0, unreadable=0, missing=0)
        assert offers.fleets == {
            "ada": used,
            "borealis": used,
            "cargo": OfferTotals(asked=accepted, used=0, late=accepted, duplicate=accepted, unreadable=0, missing=0),
        }
        assert offers.total == OfferTotals(
            asked=3 * accepted, used=2 * accepted, late=accepted, duplicate=accepted, unreadable=0, missing=0
        )
    assert not schema_errors(msgspec.json.encode(report))


async def test_without_the_address_of_matching_a_report_has_no_replies_of_fleets() -> None:
    report = await run_campaign(StubSuite(has_matching=False), "calm", duration_s=1.0)
    assert report.scenarios[0].offers is None
    assert not schema_errors(msgspec.json.encode(report))


def is_ride_of_two_plans(key: str) -> bool:
    return key.endswith("00002") and ("-one_way-" in key or "-mixed-" in key)


@pytest.mark.parametrize(
    ("planted", "counted", "affects"),
    [
        ("lose_row", "lost", is_third_one_way_ride),
        ("skip_notification", "lost", is_third_one_way_ride),
        ("notify_twice", "duplicated", is_third_one_way_ride),
        ("share_driver", "duplicated", is_ride_of_two_plans),
        ("never_settle", "in_flight", is_third_one_way_ride),
        ("expire", "lost", is_third_one_way_ride),
    ],
)
async def test_a_planted_defect_is_found_and_fails_the_campaign(
    planted: str, counted: str, affects: Callable[[str], bool]
) -> None:
    defect: dict[str, Any] = {planted: affects}
    report = await run_campaign(StubSuite(**defect), "calm", settle_s=1.0)
    assert report.verdict is not None
    assert not report.verdict.ok
    assert report.scenarios[0].totals[counted] == 1
    assert not schema_errors(msgspec.json.encode(report))


@pytest.mark.parametrize("name", ["calm", "pricing_slow"])
async def test_rides_that_end_without_an_answer_are_lost_if_no_fault_lasts_long_enough(name: str) -> None:
    """All plans lose the same rides, so that their outcomes are equal, and every rider is notified of the end."""
    report = await run_campaign(StubSuite(expire=lambda key: key.endswith("00000")), name, duration_s=3.0)
    waiting = [result for result in report.scenarios[0].results if result.plan["quote_fare"] is not Coupling.SYNC_API]
    assert [result.ledger.lost for result in waiting] == [1] * 3
    assert report.verdict is not None
    assert "expired (no fare: deadline), and no fault lasted long enough to cause it" in report.verdict.problems[0]
    assert not schema_errors(msgspec.json.encode(report))


async def test_a_killed_service_is_observed_and_affects_only_synchronous_plans() -> None:
    report = await run_campaign(StubSuite(), "pricing_down", duration_s=2.0)
    down = report.scenarios[0]
    assert report.verdict is not None
    assert report.verdict.ok
    assert down.fault_window is not None
    assert "pid 100 killed, replaced by pid 101" in down.fault_window.evidence
    ledgers = {result.label: result.ledger for result in down.results}
    assert ledgers["sync_api"].refused > 0
    assert ledgers["one_way"].unanswered == ledgers["request_reply"].unanswered == 0
    assert not schema_errors(msgspec.json.encode(report))


@pytest.mark.parametrize("name", ["pricing_down", "pricing_slow"])
async def test_a_fault_without_effect_fails_the_campaign(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.lab.faults.processes.RESTART_TIMEOUT_S", 0.5)
    report = await run_campaign(StubSuite(ignore_commands=True), name)
    assert report.verdict is not None
    assert not report.verdict.ok
    assert any("had no effect" in line for line in report.verdict.problems)
