"""Overload scenario: refused riders retry, and the report counts how many of them were accepted."""

from collections.abc import Sequence

import msgspec
import pytest

from prebook.lab.campaign.campaign_report import campaign_report, samples_with_outcome
from prebook.lab.campaign.progress import CampaignProgress
from prebook.lab.campaign.runner import Campaign, CampaignOptions
from prebook.lab.campaign.scenarios import SCENARIOS
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import open_session
from prebook.lab.load.samples import Sample
from prebook.lab.report.model import CampaignReport
from tests.lab.report.schema import schema_errors
from tests.lab.stub_suite import BusySuite, StubSuite, serve_stub


@pytest.fixture(autouse=True)
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.lab.campaign.capacity.LEVEL_S", 0.5)
    monkeypatch.setattr("prebook.lab.campaign.capacity.MAX_LEVELS", 2)


async def run_overloads(suite: StubSuite, *names: str) -> tuple[Sequence[Sample], CampaignReport]:
    options = CampaignOptions([SCENARIOS[name] for name in names], 7, 10.0, 3.0, 5.0, max_lag_ms=5000.0)
    async with serve_stub(suite), open_session() as session:
        campaign = Campaign(
            suite.settings, fault_access.read_fault_access(session, suite.environ), options, session, CampaignProgress()
        )
        raw = await campaign.run()
    return samples_with_outcome(raw), campaign_report(raw)


async def test_accepted_retries_are_counted_and_latencies_are_not_compared() -> None:
    samples, report = await run_overloads(BusySuite(refusals=1), "overload")

    (overload,) = report.scenarios
    assert report.verdict is not None
    assert report.verdict.ok
    assert overload.retries is not None
    assert overload.totals["offered"] == overload.retries.riders == overload.retries.accepted_on_first_retry > 0
    assert not overload.is_baseline
    findings = [finding.text for finding in report.verdict.findings]
    assert any(f"of {overload.retries.riders} refused riders" in text for text in findings)
    assert not any("time to accept" in text for text in findings)
    assert schema_errors(msgspec.json.encode(report)) == []
    assert {sample.outcome for sample in samples} == {"confirmed"}
    assert {sample.scenario for sample in samples} == {"overload"}
    assert all((sample.settled_ms or 0) > 0 for sample in samples)


async def test_both_overloads_offer_the_same_rides_at_three_times_the_measured_capacity() -> None:
    suite = StubSuite()
    _, report = await run_overloads(suite, "overload", "overload_unprotected")

    protected, unprotected = report.scenarios
    assert protected.overload is not None
    assert unprotected.overload is not None
    assert (protected.overload.back_pressure, unprotected.overload.back_pressure) == (True, False)
    assert protected.overload.capacity_per_s == max(level.settled_per_s for level in report.capacity_levels)
    assert protected.arrivals == unprotected.arrivals
    assert protected.arrivals.rate_per_s == pytest.approx(3 * protected.overload.capacity_per_s)
    assert protected.timeline.offered == unprotected.timeline.offered
    assert suite.back_pressure == [False, None]
    rates = protected.overload.goodput_per_s
    answered = sum(result.ledger.answered for result in protected.results)
    assert 0 < sum(rates.values()) <= answered / protected.arrivals.duration_s + 0.1
    assert set(rates) == {result.label for result in protected.results}
    assert report.verdict is not None
    assert "no rider was refused" in report.verdict.problems[0], "the stub admits everything"
    assert not schema_errors(msgspec.json.encode(report))


async def test_the_unprotected_overload_needs_no_supervisor() -> None:
    suite = BusySuite(refusals=1)
    suite.supervised = ()
    _, report = await run_overloads(suite, "overload", "overload_unprotected")

    assert [scenario.name for scenario in report.scenarios] == ["overload", "overload_unprotected"]
    assert suite.back_pressure == [False, None]
