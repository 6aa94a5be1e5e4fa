"""A real browser: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.integration.suite import Suite

MAX_WAIT_MS = 60_000
SCREENSHOTS = Path("reports/browser")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser."""
    executable = shutil.which("chromium")
    assert executable, "no chromium found; hint: apt-get install chromium, as `make test-browser` does for root"
    with sync_playwright() as playwright:
        # Chromium's own sandbox refuses to run as root, as containers of the CI do.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser, suite: Suite) -> Iterator[BrowserContext]:
    """A browser with a session of its own, which fails the test for every error and every foreign request."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(MAX_WAIT_MS)
    complaints: list[str] = []

    def check_console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    def check_request(request: Request) -> None:
        if not request.url.startswith(f"{suite.state.page_url}/"):
            complaints.append(request.url)

    context.on("console", check_console)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("request", check_request)
    yield context
    context.close()
    assert complaints == []


@pytest.fixture
def page(context: BrowserContext, suite: Suite) -> Page:
    """The control room, opened by a URL of `prebook url`, with live figures."""
    page = context.new_page()
    page.goto(new_url(suite))
    page.locator("#connection b", has_text="live").wait_for()
    return page


def new_url(suite: Suite) -> str:
    command = suite.prebook("url", "--json")
    assert command.returncode == 0, command.stderr
    url: str = msgspec.json.decode(command.stdout)["url"]
    return url


def keep_screenshot(page: Page, name: str) -> None:
    """Keep a picture of the whole page, as an artefact."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
