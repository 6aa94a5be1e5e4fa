"""The control room in a real browser. Tests wait for what the page shows, never for a time."""

import gzip
import re
from collections import Counter

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Response, expect

from prebook.contracts.plan import Coupling
from prebook.control_room.drawing import DEFAULT, VIEWS, draw_plan
from prebook.messaging.policy import default_plan
from tests.browser.conftest import MAX_WAIT_MS, keep_screenshot, new_url
from tests.integration.suite import POLICIES, Suite

pytestmark = [pytest.mark.real, pytest.mark.browser, pytest.mark.timeout(600)]
MAX_FIRST_VIEW_BYTES = 120_000
expect.set_options(timeout=MAX_WAIT_MS)


def book(page: Page, plan: str) -> str:
    """Book a ride with a plan by the form, wait until its rider is notified, and return its id."""
    page.get_by_label("Plan", exact=True).select_option(plan)
    page.get_by_role("button", name="Book").click()
    result = page.locator("#ride .result")
    expect(result).to_have_text(re.compile("rider notified after"))
    found = re.match(r"(bk_\w+): accepted with 20[12]", result.inner_text())
    assert found, result.inner_text()
    return found[1]


def counted_states(suite: Suite) -> Counter[str]:
    """Bookings by state, as `prebook ledger` counts them."""
    rows = msgspec.json.decode(suite.prebook("ledger", "--json").stdout)["rows"]
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row["state"]] += row["bookings"]
    return counts


def test_the_first_view_is_small_and_loads_nothing_from_elsewhere(context: BrowserContext, suite: Suite) -> None:
    page = context.new_page()
    sizes: dict[str, int] = {}

    def weigh(response: Response) -> None:
        if response.ok and not response.url.endswith("/v1/live"):
            sizes[response.url] = len(gzip.compress(response.body()))

    page.on("response", weigh)
    page.goto(new_url(suite))
    expect(page.locator("#connection b")).to_have_text("live")
    expect(page.locator(".stage.flows [data-arrow]").first).to_be_visible()
    assert len(sizes) > 10
    assert sum(sizes.values()) < MAX_FIRST_VIEW_BYTES
    expect(page.locator(".state span")).to_have_text(re.compile(r"^\d+ processes up$"))
    keep_screenshot(page, "first-view")


def test_a_browser_without_a_session_is_told_how_to_get_in(chromium: Browser, suite: Suite) -> None:
    page = chromium.new_page()
    response = page.goto(f"{suite.state.page_url}/?token=wrong")
    assert response is not None
    assert response.status == 401
    expect(page.locator("body")).to_contain_text("prebook url")
    page.close()


@pytest.mark.parametrize("coupling", Coupling)
def test_a_ride_booked_by_hand_is_in_every_figure(page: Page, suite: Suite, coupling: Coupling) -> None:
    book(page, coupling.value)
    row = page.locator("#plans tbody tr", has=page.get_by_role("rowheader", name=coupling.value, exact=True))
    for clock in range(3):
        expect(row.locator("td.clock").nth(clock)).to_have_text(re.compile(r"^[\d.,]+ m?s / [\d.,]+ m?s$"))
    page.get_by_role("link", name=coupling.value, exact=True).click()
    expect(page).to_have_url(re.compile(rf"#flow\?plan={coupling.value}$"))
    first = next(arrow for arrow in draw_plan(coupling.value).arrows if arrow.messages)
    arrow = page.locator(f'[data-arrow="{first.name}"]')
    expect(arrow).to_have_attribute("aria-label", re.compile(r"[1-9][\d,]* messages in all\.$"))
    states = counted_states(suite)
    expect(page.locator(".outcomes .total b")).to_have_text(f"{states.total():,}")
    expect(page.locator(".outcomes .confirmed b")).to_have_text(f"{states['confirmed']:,}")


def test_every_plan_is_drawn_and_listed_with_the_same_arrows(page: Page) -> None:
    for view in VIEWS:
        topology = draw_plan(view, default_plan(POLICIES) if view == DEFAULT else None)
        page.get_by_role("link", name=view, exact=True).click()
        expect(page.locator(".stage [data-arrow]")).to_have_count(len(topology.arrows))
        page.get_by_role("link", name="Show as table").click()
        rows = page.get_by_role("region", name="Arrows of the message flow").locator("tbody tr")
        expect(rows).to_have_count(len(topology.arrows))
        page.get_by_role("link", name="Show as drawing").click()
        expect(page.locator(".stage.flows")).to_be_visible()
    keep_screenshot(page, "default-plan")


def test_back_and_reload_restore_what_was_shown(page: Page) -> None:
    page.get_by_role("link", name="one_way", exact=True).click()
    page.get_by_role("link", name="Show as table").click()
    expect(page).to_have_url(re.compile(r"#flow\?plan=one_way&as=table$"))
    page.reload()
    expect(page.locator(".graph-tables")).to_be_visible()
    expect(page.locator(".views [aria-current]")).to_have_text("one_way")
    page.go_back()
    expect(page.locator(".stage.flows")).to_be_visible()
    expect(page.locator(".views [aria-current]")).to_have_text("one_way")
    page.go_back()
    expect(page.locator(".views [aria-current]")).to_have_text("default")


def test_a_ride_is_booked_and_an_arrow_read_by_keyboard_alone(page: Page) -> None:
    page.get_by_label("Plan", exact=True).focus()
    page.keyboard.press("s")  # the first plan that begins with it: sync_api
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Book")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#ride .result")).to_have_text(re.compile("rider notified after"))

    page.get_by_role("link", name="Show as table").focus()
    while page.evaluate("() => document.activeElement.dataset.arrow === undefined"):
        page.keyboard.press("Tab")
    before = page.locator("#flow .inspector").inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#flow .inspector")).not_to_have_text(before)
    expect(page.locator("#flow .inspector")).to_contain_text("messages in all")


def test_tabs_of_one_browser_share_one_stream(page: Page, context: BrowserContext, suite: Suite) -> None:
    streams: list[str] = []

    def note_stream(request: Request) -> None:
        if request.url.endswith("/v1/live"):
            streams.append(request.url)

    context.on("request", note_stream)
    second = context.new_page()
    second.goto(suite.state.page_url)
    expect(second.locator("#connection b")).to_have_text("live")
    assert streams == []
    page.close()
    expect(second.locator("#connection b")).to_have_text("live")
    seq = second.locator("html").get_attribute("data-seq") or ""
    expect(second.locator("html")).not_to_have_attribute("data-seq", seq)
    assert len(streams) == 1


def test_a_page_that_stands_still_shows_the_present_figures_afterwards(page: Page, suite: Suite) -> None:
    total = page.locator(".outcomes .total b")
    page.get_by_role("button", name="Pause").click()
    before = total.inner_text()
    book(page, Coupling.ONE_WAY.value)
    assert total.inner_text() == before
    page.get_by_role("button", name="Resume").click()
    expect(total).to_have_text(f"{counted_states(suite).total():,}")


def test_a_fault_is_armed_injected_and_undone_with_its_evidence(page: Page) -> None:
    page.get_by_role("button", name="Show the catalogue").click()
    page.get_by_label("Fault", exact=True).select_option("pause_fleets")
    expect(page.locator("#faults .expectation")).not_to_be_empty()
    inject = page.get_by_role("button", name="Inject")
    expect(inject).to_be_disabled()
    page.get_by_role("button", name="Arm").click()
    page.get_by_label("For, in seconds").fill("2")
    inject.click()
    run = page.get_by_role("region", name="Injections").locator("tbody tr").first
    expect(run).to_contain_text("ordered; no evidence yet")
    expect(run).to_contain_text("took effect, and is undone")
    expect(run.locator("td").last).not_to_be_empty()
    expect(inject).to_be_disabled()


def test_a_dead_letter_is_found_tried_and_replayed(page: Page, suite: Suite) -> None:
    injected = suite.prebook("fault", "inject", "poison", "--json")
    assert injected.returncode == 0, injected.stderr
    restored = suite.prebook("parking", "restore", "--all")  # the fault has discarded its messages
    assert restored.returncode == 0, restored.stderr
    page.get_by_role("link", name="Dead letters").click()
    page.locator("#dead-letters .groups tbody tr a", has_text="attempts_exhausted").click()
    expect(page.locator("#dead-letters .group .count")).to_contain_text("of them parked")
    page.locator("#dead-letters .messages tbody tr a").first.click()
    expect(page.locator("#dead-letters .message")).to_contain_text("ce-type")
    replay = page.locator("#dead-letters .replay")
    expect(replay).to_be_disabled()
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator("#dead-letters .plan")).to_have_text("1 would be sent in batches of 1")
    expect(replay).to_have_text("Replay 1 message")
    replay.click()
    # The poison fails for the same cause again, which stops its replay.
    expect(page.get_by_role("region", name="Replays").locator("tbody tr").first).to_contain_text("1 failed again")
    keep_screenshot(page, "dead-letters")
    discarded = suite.prebook("parking", "discard", "--all", "--reason", "end of the test")
    assert discarded.returncode == 0, discarded.stderr
    expect(page.locator("#dead-letters .none")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_narrow_screen_in_both_schemes(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": 320, "height": 800})
    width = page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= 320
    keep_screenshot(page, f"narrow-{scheme}")
