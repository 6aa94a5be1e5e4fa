"""Switches of the default plan in a real browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MAX_WAIT_MS, keep_screenshot
from tests.browser.test_control_room import book
from tests.integration.suite import Suite

pytestmark = [pytest.mark.real, pytest.mark.browser, pytest.mark.timeout(600)]
expect.set_options(timeout=MAX_WAIT_MS)


@pytest.fixture(autouse=True)
def configured_plan(suite: Suite) -> Iterator[None]:
    """Leave the shared suite with the plan that it is configured with."""
    yield
    assert suite.prebook("plan", "set", "configured").returncode == 0


def test_a_flow_is_switched_and_new_rides_use_it(page: Page) -> None:
    switches = page.locator("#plans .switches")
    quote_fare = switches.get_by_label("quote_fare")
    expect(quote_fare).to_have_value("request_reply")
    expect(switches.get_by_role("button", name="Switch", exact=True)).to_be_disabled()
    quote_fare.select_option("one_way")
    switches.get_by_role("button", name="Switch quote_fare to one_way").click()
    expect(switches.locator(".result")).to_contain_text("New rides: quote_fare by one_way")
    expect(switches.locator("small").first).to_contain_text("configured request_reply")
    # The drawing of the default plan has the queue of the new coupling.
    expect(page.locator('.stage.flows [data-stop="pricing.one_way_requests.quote_fare"]')).to_be_visible()
    book(page, "default")
    row = page.locator("#plans tbody tr", has_text="quote_fare=one_way")
    expect(row.locator("td.clock").nth(1)).to_have_text(re.compile("ms|s"))
    keep_screenshot(page, "switched-flow")
    switches.get_by_role("button", name="All as configured").click()
    expect(quote_fare).to_have_value("request_reply")
    expect(switches.locator("small").first).to_contain_text("as configured")


def test_a_change_by_the_command_line_is_on_the_page_and_a_choice_is_not_lost_by_it(page: Page, suite: Suite) -> None:
    switches = page.locator("#plans .switches")
    switches.get_by_label("ask_fleet").select_option("async_api")
    assert suite.prebook("plan", "set", "find_driver=one_way").returncode == 0
    expect(switches.get_by_label("find_driver")).to_have_value("one_way")
    expect(switches.get_by_role("button", name="Switch ask_fleet to async_api")).to_be_enabled()
