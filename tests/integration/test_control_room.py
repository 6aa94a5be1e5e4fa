"""The control room of a running suite."""

import httpx
import msgspec
import pytest

from tests.integration.suite import Suite

pytestmark = pytest.mark.real


def open_page(suite: Suite) -> tuple[str, httpx.Response]:
    """Open a URL that `prebook url` prints, as a browser does; return it with the response."""
    command = suite.prebook("url", "--json")
    assert command.returncode == 0, command.stderr
    url = msgspec.json.decode(command.stdout)["url"]
    return url, httpx.get(url, follow_redirects=True, trust_env=False)


def test_prebook_url_opens_the_page_once_on_this_machine(suite: Suite) -> None:
    url, page = open_page(suite)
    assert url.startswith(f"{suite.state.page_url}/?token=")
    assert suite.state.page_url.startswith("http://127.0.0.1:")
    assert page.status_code == 200
    assert "Prebook control room" in page.text
    assert httpx.get(url, follow_redirects=True, trust_env=False).status_code == 401
