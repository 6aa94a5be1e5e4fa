"""A campaign's overload: riders who are refused come back, and the report says how many of them got in."""

import msgspec

from prebook.lab.campaign.progress import CampaignProgress
from prebook.lab.campaign.runner import Campaign, CampaignOptions
from prebook.lab.campaign.scenarios import SCENARIOS
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import open_session
from tests.lab.report.schema import schema_errors
from tests.lab.stub_suite import BusySuite, serve_stub


async def test_who_was_refused_and_got_in_is_counted_and_latencies_are_not_compared() -> None:
    suite = BusySuite(refusals=1)
    terms = CampaignOptions((SCENARIOS["overload"],), 7, 10.0, 2.0, 5.0, max_lag_ms=5000.0)
    async with serve_stub(suite), open_session() as session:
        campaign = Campaign(
            suite.settings, fault_access.read_fault_access(session, suite.environ), terms, session, CampaignProgress()
        )
        report = await campaign.run()

    (overload,) = report.scenarios
    assert report.verdict is not None
    assert report.verdict.ok
    assert overload.retries is not None
    assert overload.totals["offered"] == overload.retries.riders == overload.retries.accepted_on_first_retry > 0
    assert not overload.is_baseline
    said = [finding.text for finding in report.verdict.findings]
    assert any(f"of {overload.retries.riders} riders who were refused" in text for text in said)
    assert not any("time to accept" in text for text in said)
    assert schema_errors(msgspec.json.encode(report)) == []
    assert {sample.outcome for sample in campaign.samples} == {"confirmed"}
    assert all((sample.settled_ms or 0) > 0 for sample in campaign.samples)
