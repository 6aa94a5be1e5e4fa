"""Overload scenario: refused riders retry, and the report counts how many of them were accepted."""

import msgspec

from prebook.lab.campaign.progress import CampaignProgress
from prebook.lab.campaign.runner import Campaign, CampaignOptions
from prebook.lab.campaign.scenarios import SCENARIOS
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import open_session
from tests.lab.report.schema import schema_errors
from tests.lab.stub_suite import BusySuite, serve_stub


async def test_accepted_retries_are_counted_and_latencies_are_not_compared() -> None:
    suite = BusySuite(refusals=1)
    options = CampaignOptions((SCENARIOS["overload"],), 7, 10.0, 2.0, 5.0, max_lag_ms=5000.0)
    async with serve_stub(suite), open_session() as session:
        campaign = Campaign(
            suite.settings, fault_access.read_fault_access(session, suite.environ), options, session, CampaignProgress()
        )
        report = await campaign.run()

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
    assert {sample.outcome for sample in campaign.samples} == {"confirmed"}
    assert all((sample.settled_ms or 0) > 0 for sample in campaign.samples)
