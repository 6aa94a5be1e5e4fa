"""A campaign's overload: riders who are refused come back, and the report says how many of them got in."""

import msgspec

from prebook.lab.campaign.progress import Progress
from prebook.lab.campaign.runner import Campaign, Terms
from prebook.lab.campaign.scenarios import SCENARIOS
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import open_session
from tests.loadtest.schema import schema_errors
from tests.loadtest.standin import serving
from tests.loadtest.test_returns import Busy


async def test_who_was_refused_and_got_in_is_counted_and_latencies_are_not_compared() -> None:
    suite = Busy(refusals=1)
    terms = Terms((SCENARIOS["overload"],), 7, 10.0, 2.0, 5.0, most_lag_ms=5000.0)
    async with serving(suite), open_session() as session:
        campaign = Campaign(suite.settings, levers(session, suite.environ), terms, session, Progress())
        report = await campaign.play()

    (overload,) = report.scenarios
    assert report.verdict is not None
    assert report.verdict.ok
    assert overload.returns is not None
    assert overload.totals["offered"] == overload.returns.riders == overload.returns.at_once > 0
    assert not overload.calm
    said = [finding.text for finding in report.verdict.findings]
    assert any(f"of {overload.returns.riders} riders who were refused" in text for text in said)
    assert not any("time to accept" in text for text in said)
    assert schema_errors(msgspec.json.encode(report)) == []
    assert {sample.fate for sample in campaign.samples} == {"confirmed"}
    assert all((sample.outcome_ms or 0) > 0 for sample in campaign.samples)
