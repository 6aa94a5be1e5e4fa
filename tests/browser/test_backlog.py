"""Waiting messages and the window of a fault, in a real browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MAX_WAIT_MS, keep_screenshot

pytestmark = [pytest.mark.real, pytest.mark.browser, pytest.mark.timeout(600)]
expect.set_options(timeout=MAX_WAIT_MS)
QUEUE = "pricing.requests.quote_fare"


def inject(page: Page, fault: str, duration_s: int) -> None:
    """Order a fault by the page."""
    page.get_by_role("button", name="Show the catalogue").click()
    page.get_by_label("Fault", exact=True).select_option(fault)
    page.get_by_label("For, in seconds").fill(str(duration_s))
    page.get_by_role("button", name="Arm").click()
    page.get_by_role("button", name="Inject").click()


def test_messages_of_a_paused_consumer_wait_and_grow_old_and_the_fault_is_shaded(page: Page) -> None:
    page.get_by_role("link", name="request_reply", exact=True).click()
    page.get_by_role("link", name="Show as table").click()
    leg = page.get_by_role("region", name="Arrows of the message flow").locator("tbody tr", has_text=f"{QUEUE}pricing")
    waiting, oldest = leg.locator("td").nth(7), leg.locator("td").nth(8)
    expect(waiting).to_have_text("0")
    inject(page, "pause_pricing", 16)
    expect(page.locator(".state")).to_contain_text("pricing does not answer")
    page.get_by_label("Plan", exact=True).select_option("request_reply")
    page.locator("#ride").get_by_role("button", name="Book").click()
    expect(waiting).to_have_text("1")
    expect(oldest).to_have_text(re.compile(r"^([3-9]\.\d|1\d) s$"))
    queue = page.get_by_role("region", name="Queues").locator("tbody tr", has_text=QUEUE)
    expect(queue.locator("td").last).to_have_text(re.compile(r"^([4-9]\.\d|1\d) s$"))
    keep_screenshot(page, "paused-consumer")
    expect(page.locator("#ride .result")).to_have_text(re.compile("rider notified after"))
    expect(waiting).to_have_text("0")
    expect(oldest).to_have_text("\N{EN DASH}")

    row = page.locator("#plans tbody tr", has=page.get_by_role("rowheader", name="request_reply", exact=True))
    expect(row.locator('rect[data-fault="pause_pricing"]')).to_have_count(1)
    expect(row.locator(".chart small")).to_have_text(re.compile("pause_pricing shaded"))
    expect(row.locator(".timeline")).to_have_attribute("aria-label", re.compile("faults in this time: pause_pricing"))
    keep_screenshot(page, "shaded-fault")
