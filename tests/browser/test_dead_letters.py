"""Dead letters in a real browser: from a discarded poison to its resolved replay."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Page, expect

from prebook.contracts.dead_letters import DeadLetterView
from tests.browser.conftest import MAX_WAIT_MS, keep_screenshot
from tests.integration.suite import Suite

pytestmark = [pytest.mark.real, pytest.mark.browser, pytest.mark.timeout(600)]
expect.set_options(timeout=MAX_WAIT_MS)
VALID_NOTICE = '{"rider_id": "nobody", "notice": "confirmed", "text": "your ride is booked"}'


@pytest.fixture(autouse=True)
def poison(suite: Suite) -> Iterator[None]:
    """Four discarded dead letters, one of each kind of poison. All are discarded at the end."""
    injected = suite.prebook("fault", "inject", "poison", "--json")
    assert injected.returncode == 0, injected.stderr
    yield
    suite.prebook("parking", "discard", "--all", "--reason", "end of the test")


def open_group(page: Page, cause: str) -> None:
    page.locator("#dead-letters .groups tbody tr a", has_text=cause).click()
    expect(page.locator("#dead-letters .group .count")).not_to_be_empty()


def test_a_poison_is_restored_noted_edited_replayed_and_resolved(page: Page, tmp_path: Path) -> None:
    letters = page.locator("#dead-letters")
    page.get_by_role("link", name="Dead letters").click()
    letters.get_by_role("link", name="discarded").click()
    open_group(page, "wrong_schema")
    restore = letters.get_by_role("button", name=re.compile("^Restore [1-9]"))
    covered = re.sub(r"\D", "", restore.inner_text())
    restore.click()
    expect(letters.locator(".plan")).to_have_text(re.compile(f"^{covered} messages? parked again$"))

    letters.get_by_role("link", name="parked").click()
    open_group(page, "wrong_schema")
    letters.locator(".messages tbody tr a").first.click()
    shown = letters.locator(".message")
    expect(shown).to_contain_text("wrong_schema")
    letters.get_by_label("Note for colleagues").fill("the rider is a number")
    letters.get_by_role("button", name="Add note").click()
    expect(shown).to_contain_text("control-room: the rider is a number")
    letters.get_by_label("Payload that a replay sends").fill(VALID_NOTICE)
    letters.get_by_label("Reason for the edit").fill("name the rider")
    letters.get_by_role("button", name="Save as version 1").click()
    expect(letters.locator(".letter .result")).to_contain_text("version 1 is what a replay sends")
    expect(letters.locator(".messages tbody tr").first).to_contain_text("edited, 1")

    letters.get_by_role("button", name="Dry run").click()
    expect(letters.locator(".plan")).to_have_text(re.compile(f"^{covered} would be sent in batches of 1"))
    letters.get_by_label("Messages a second").fill("5")
    expect(letters.locator(".replay")).to_be_disabled()  # another rate needs another dry run
    letters.get_by_label("go on when one fails again").check()
    letters.get_by_role("button", name="Dry run").click()
    letters.get_by_role("button", name=f"Replay {covered} message").click()
    replay = page.get_by_role("region", name="Replays").locator("tbody tr").first
    expect(replay).to_contain_text("1 resolved")
    expect(replay).to_contain_text("done")
    keep_screenshot(page, "resolved-dead-letter")

    with page.expect_download() as download:
        letters.get_by_role("link", name="Export all").click()
    download.value.save_as(tmp_path / "export.ndjson")
    exported = [
        msgspec.json.decode(line, type=DeadLetterView) for line in (tmp_path / "export.ndjson").read_text().splitlines()
    ]
    (healed,) = [each for each in exported if each.versions and each.versions[-1].payload.text == VALID_NOTICE]
    assert (healed.summary.state, [note.text for note in healed.notes]) == ("resolved", ["the rider is a number"])


def test_a_discard_needs_a_reason_and_covers_exactly_what_is_shown(page: Page, suite: Suite) -> None:
    letters = page.locator("#dead-letters")
    assert suite.prebook("parking", "restore", "--cause", "bad_json").returncode == 0
    page.get_by_role("link", name="Dead letters").click()
    open_group(page, "bad_json")
    discard = letters.locator(".discard")
    expect(discard).to_have_text(re.compile("^Discard [1-9]"))
    covered = int(re.sub(r"\D", "", discard.inner_text()))
    discard.click()
    expect(letters.locator(".plan")).to_contain_text("give a reason")
    expect(letters.get_by_label("Reason for a discard")).to_be_focused()

    # One more of the same group, after the page was shown: the button does not cover it, and the page says so.
    assert suite.prebook("fault", "inject", "poison").returncode == 0
    assert suite.prebook("parking", "restore", "--cause", "bad_json").returncode == 0
    expect(letters.locator(".news")).to_contain_text(f"the buttons cover the {covered} shown")
    letters.get_by_label("Reason for a discard").fill("cut off by its sender")
    discard.click()
    expect(letters.locator(".plan")).to_have_text(
        re.compile(f"^{covered} messages? discarded; they are kept, and can be restored$")
    )
    expect(letters.locator(".messages tbody tr")).to_have_count(1)
    expect(discard).to_have_text("Discard 1 message")
