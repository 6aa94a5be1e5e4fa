"""The HTML report: one offline file, in which no value can become markup."""

import re
from html.parser import HTMLParser

import msgspec
import pytest

from prebook.contracts.auctions import OFFER_COLUMNS, completion_text
from prebook.lab.ledger.discrepancies import Discrepancy, DiscrepancyKind
from prebook.lab.report import html
from prebook.lab.report.markup import tag
from prebook.lab.report.model import CampaignReport
from prebook.lab.report.verdict import with_verdict
from prebook.lab.suite_client.settings import StackInfo
from tests.lab.campaign.campaign_runs import run_campaign
from tests.lab.stub_suite import StubSuite

SCRIPT = '<script>alert("x")</script>'
MAX_BYTES = 400_000


@pytest.fixture
async def report() -> CampaignReport:
    return await run_campaign(StubSuite(), "calm", "pricing_down")


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_the_page_is_well_formed_small_and_offline(report: CampaignReport) -> None:
    page = html.page(report)
    elements = Elements()
    elements.feed(page)
    assert not elements.open
    assert len(page.encode()) < MAX_BYTES
    assert not elements.seen & {"script", "link", "img", "iframe"}
    assert not re.search(r"https?:|url\(|@import", page)
    assert "prefers-color-scheme: dark" in page


async def test_the_page_contains_the_verdict_and_every_plan_and_scenario(report: CampaignReport) -> None:
    page = html.page(report)
    assert report.verdict is not None
    assert report.verdict.headline in page
    for scenario in report.scenarios:
        assert f'id="{scenario.name}"' in page
        assert scenario.offers is not None
        assert f"Replies of the partner fleets: {completion_text(scenario.offers)}" in page
        for fleet, totals in scenario.offers.fleets.items():
            for column in OFFER_COLUMNS:
                count = getattr(totals, column)
                assert f'<td id="{scenario.name}.offers.{fleet}.{column}">{count}</td>' in page
    heat_maps = sum(scenario.fault is not None for scenario in report.scenarios)
    assert page.count('role="img"') == 4 * len(report.scenarios) + heat_maps
    assert page.count('class="chart wide heat"') == heat_maps
    assert 'class="fault"' in page


async def test_values_cannot_become_markup(report: CampaignReport) -> None:
    discrepancy = Discrepancy(
        kind=DiscrepancyKind.MISSING_BOOKING, label="one_way", key=SCRIPT, booking_id=SCRIPT, detail=SCRIPT
    )
    scenarios = tuple(msgspec.structs.replace(item, discrepancies=(discrepancy,)) for item in report.scenarios)
    stack = StackInfo(SCRIPT, SCRIPT, SCRIPT)
    page = html.page(with_verdict(msgspec.structs.replace(report, scenarios=scenarios, stack=stack)))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6


def test_text_and_attributes_are_escaped_and_markup_is_not_escaped_twice() -> None:
    assert tag("b", tag("i", "<"), title='"') == '<b title="&quot;"><i>&lt;</i></b>'
