"""Load and back pressure in a real browser: started, changed and stopped from the page."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MAX_WAIT_MS, keep_screenshot
from tests.browser.test_control_room import counted_states
from tests.integration.suite import Suite

pytestmark = [pytest.mark.real, pytest.mark.browser, pytest.mark.timeout(600)]
expect.set_options(timeout=MAX_WAIT_MS)
EQUATION = re.compile(
    r"(?P<offered>[\d,]+) rides? offered = (?P<accepted>[\d,]+) accepted \([\d,]+ after a refusal\) "
    r"\+ (?P<refused>[\d,]+) refused \+ (?P<failed>[\d,]+) failed \+ (?P<waiting>[\d,]+) waiting"
)


@pytest.fixture(autouse=True)
def no_load(suite: Suite) -> Iterator[None]:
    """Leave the shared suite without a load, and with the back pressure that it is configured with."""
    yield
    assert suite.prebook("load", "stop").returncode == 0
    assert suite.prebook("load", "back-pressure", "configured").returncode == 0


def counts(page: Page) -> dict[str, int]:
    """Return the terms of the equation that the page shows."""
    text = page.locator("#load .progress").inner_text()
    found = EQUATION.search(text)
    assert found, text
    return {name: int(term.replace(",", "")) for name, term in found.groupdict().items()}


def test_a_load_is_started_changed_and_stopped_and_its_rides_are_those_of_the_ledger(page: Page, suite: Suite) -> None:
    before = counted_states(suite).total()
    load = page.locator("#load")
    progress = load.locator(".progress")
    load.get_by_label("Rides a second").fill("4")
    load.get_by_label("Shape").select_option("constant")
    load.get_by_label("one_way").check()
    load.get_by_role("button", name="Start").click()
    expect(progress).to_have_text(re.compile(r"^4\.0/s offered now: .* offered = [1-9]\d* accepted"))
    load.get_by_label("Rides a second").fill("8")
    load.get_by_role("button", name="Change").click()
    expect(progress).to_contain_text("8.0/s offered now")
    keep_screenshot(page, "load")
    load.get_by_role("button", name="Stop").click()
    expect(progress).to_have_text(re.compile("^ended: .* 0 waiting"))
    shown = counts(page)
    assert shown["offered"] == shown["accepted"] + shown["refused"] + shown["failed"] + shown["waiting"]
    assert shown["failed"] == 0
    assert counted_states(suite).total() == before + shown["accepted"]
    expect(page.locator(".outcomes .total b")).to_have_text(f"{before + shown['accepted']:,}")
    expect(page.locator(".outcomes .in-flight b")).to_have_text("0")


def test_a_load_of_the_command_line_is_on_the_page(page: Page, suite: Suite) -> None:
    started = suite.prebook(
        "load", "start", "--rate", "3", "--shape", "square", "--plan", "request_reply", "--seed", "9"
    )
    assert started.returncode == 0, started.stderr
    expect(page.locator("#load .progress")).to_contain_text("Seed 9")
    expect(page.locator("#load").get_by_label("Shape")).to_have_value("square")
    changed = suite.prebook("load", "change", "--rate", "5")
    assert "5 rides/s, square" in changed.stdout, changed.stderr
    expect(page.locator("#load").get_by_label("Rides a second")).to_have_value("5")
    assert suite.prebook("load", "stop").returncode == 0
    assert suite.prebook("load", "change", "--rate", "5").returncode == 1
    expect(page.locator("#load .progress")).to_have_text(re.compile("^ended: .* 0 waiting"))


def test_back_pressure_is_switched_from_the_page_and_the_chain_has_all_links(page: Page, suite: Suite) -> None:
    switch = page.locator("#load").get_by_role("switch")
    expect(switch).to_have_text("Back pressure is off")  # as the suite of the tests is configured
    switch.click()
    expect(switch).to_have_text("Back pressure is on")
    expect(switch).to_have_attribute("aria-checked", "true")
    assert suite.prebook("load", "back-pressure").stdout.startswith("back pressure is on, switched at")
    links = page.locator("#load .chain li")
    expect(links).to_have_count(5)
    expect(links.first).to_contain_text("of its limit")
    expect(page.locator("#load .limiting")).not_to_be_empty()
