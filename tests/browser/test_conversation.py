"""One ride on the page: its messages as drawing and table, found by any reference, with an address for each state."""

import re

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect

from prebook.contracts.plan import Coupling
from tests.browser.conftest import MAX_WAIT_MS, keep_screenshot, new_url
from tests.browser.test_control_room import book
from tests.integration.suite import Suite

pytestmark = [pytest.mark.real, pytest.mark.browser, pytest.mark.timeout(600)]
expect.set_options(timeout=MAX_WAIT_MS)


def find(page: Page, reference: str) -> None:
    page.get_by_label("Booking, trip, Idempotency-Key or message").fill(reference)
    page.get_by_role("button", name="Find").click()


def traced(suite: Suite, reference: str) -> list[dict[str, object]]:
    command = suite.prebook("trace", "--json", reference)
    assert command.returncode == 0, command.stderr
    messages: list[dict[str, object]] = msgspec.json.decode(command.stdout)["messages"]
    return messages


@pytest.mark.parametrize("coupling", Coupling)
def test_drawing_and_table_have_the_messages_of_the_command(page: Page, suite: Suite, coupling: Coupling) -> None:
    booking_id = book(page, coupling.value)
    page.get_by_role("link", name="Show its messages").click()
    expect(page).to_have_url(re.compile(rf"#conversation\?ride={booking_id}$"))
    expect(page.locator("#conversation .status")).to_have_text(
        re.compile(
            rf"{booking_id}: \w+.*, plan {coupling.value}; settled after [\d.]+ m?s, rider notified after [\d.]+ m?s"
        )
    )  # a busy machine may have ended the ride by its deadline
    expected = traced(suite, booking_id)
    rows = page.get_by_role("region", name="Messages of the ride").locator("tbody tr")
    expect(rows).to_have_count(len(expected))
    expect(page.locator(".sequence [data-message]")).to_have_count(len(expected))
    for row, message in zip(rows.all(), expected, strict=True):
        expect(row.locator("td").nth(1)).to_have_text(str(message["sender"]))
        expect(row.locator("td").nth(3)).to_have_text(str(message["coupling"]))
        expect(row.locator("td").nth(8)).to_have_text(str(message["state"]).replace("_", " "))
    expect(page.locator(".sequence .swim")).to_have_count(len({"rider"} | lanes(expected)))
    plans = page.get_by_role("region", name="This ride and all plans").locator("tbody tr")
    expect(plans.first).to_contain_text("this ride")
    keep_screenshot(page, f"conversation-{coupling.value}")


def lanes(messages: list[dict[str, object]]) -> set[str]:
    ends = [(message["key"], message["sender"]) for message in messages]
    ends += [(message["key"], message["receiver"] or message["sender"]) for message in messages]
    return {f"fleets, {key}" if service == "fleets" and key else str(service) for key, service in ends}


def test_a_ride_is_found_by_the_id_of_a_message(page: Page) -> None:
    booking_id = book(page, "request_reply")
    find(page, f"{booking_id}.quote_fare.reply")
    expect(page.locator("#conversation .status")).to_have_text(re.compile(f"^{booking_id}: confirmed"))


def test_an_unknown_reference_is_refused_with_a_remedy(chromium: Browser, suite: Suite) -> None:
    page = chromium.new_page()  # the console of a browser calls every 404 an error, which the fixture would not allow
    page.goto(new_url(suite))
    with page.expect_response(re.compile("bk_nobody")) as refused:
        find(page, "bk_nobody")
    assert refused.value.status == 404
    expect(page.locator("#conversation .status")).to_contain_text("nothing is known of bk_nobody")
    expect(page.locator("#conversation .status")).to_contain_text("Idempotency-Key")
    expect(page.locator("#conversation .found")).to_be_hidden()
    page.close()


def test_back_and_reload_restore_ride_and_message(page: Page) -> None:
    booking_id = book(page, "one_way")
    page.get_by_role("link", name="Show its messages").click()
    rows = page.get_by_role("region", name="Messages of the ride").locator("tbody tr")
    rows.nth(2).get_by_role("link").click()
    expect(page).to_have_url(re.compile(rf"#conversation\?ride={booking_id}&number=3$"))
    inspector = page.locator("#conversation .inspector")
    expect(inspector).to_have_text(re.compile(r"^3\. "))
    page.reload()
    expect(inspector).to_have_text(re.compile(r"^3\. "))
    expect(page.locator(".sequence .selected")).to_have_attribute("data-message", "3")
    page.go_back()
    expect(inspector).to_have_text("")
    page.go_back()
    expect(page.locator("#conversation .found")).to_be_hidden()


def test_messages_are_read_by_keyboard_alone(page: Page) -> None:
    booking_id = book(page, "sync_api")
    page.get_by_label("Booking, trip, Idempotency-Key or message").focus()
    page.keyboard.type(booking_id)
    page.keyboard.press("Enter")
    expect(page.locator("#conversation .found")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Find")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("region", name="Sequence")).to_be_focused()
    inspector = page.locator("#conversation .inspector")
    for number in (1, 2, 3):
        page.keyboard.press("ArrowRight")
        expect(inspector).to_have_text(re.compile(rf"^{number}\. "))
    page.keyboard.press("ArrowLeft")
    expect(inspector).to_have_text(re.compile(r"^2\. "))
    expect(page).to_have_url(re.compile(r"&number=2$"))
