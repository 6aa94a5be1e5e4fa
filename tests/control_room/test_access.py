"""Nobody gets into the control room without a session, and no page of another origin acts in it."""

from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
from litestar import get, post

from prebook.control_room.app import PageAddress, create_control_room
from prebook.control_room.response_headers import SECURITY_HEADERS
from prebook.control_room.sessions import MAX_SESSIONS, MAX_TOKENS, SESSION_LIFETIME_S, TOKEN_LIFETIME_S, Sessions
from prebook.devstack.supervisor.control_api import token_digest

CONTROL_TOKEN = "control token of the tests"
BASE = "http://127.0.0.1:8093"
ADDRESS = PageAddress(BASE, 8093)
BEARER = {"authorization": f"Bearer {CONTROL_TOKEN}"}
JSON = {"content-type": "application/json"}
OWN_PAGE = {"origin": BASE, **JSON}


@get("/v1/figures")
async def read_figures() -> dict[str, int]:
    return {"rides": 3}


@post("/v1/changes")
async def change() -> dict[str, str]:
    return {"status": "changed"}


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
async def browser(sessions: Sessions) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a session."""
    app = create_control_room(ADDRESS, sessions, token_digest(CONTROL_TOKEN), [read_figures, change])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:  # type: ignore[arg-type]
        yield client


async def open_page(browser: httpx.AsyncClient, sessions: Sessions) -> httpx.Response:
    return await browser.get(ADDRESS.with_token(sessions.issue_token()))


async def test_a_token_opens_the_page_once(browser: httpx.AsyncClient, sessions: Sessions) -> None:
    url = ADDRESS.with_token(sessions.issue_token())
    first = await browser.get(url)
    assert (first.status_code, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("prebook_console_8093=", "httponly", "samesite=strict", "path=/"))
    page = await browser.get("/")
    assert page.status_code == 200
    assert "Prebook control room" in page.text

    browser.cookies.clear()
    second = await browser.get(url)
    assert second.status_code == 401
    assert "set-cookie" not in second.headers
    assert "prebook url" in second.text


async def test_a_session_reads_and_changes(browser: httpx.AsyncClient, sessions: Sessions) -> None:
    await open_page(browser, sessions)
    assert (await browser.get("/v1/figures")).json() == {"rides": 3}
    assert (await browser.get("/assets/app.css")).status_code == 200
    assert (await browser.post("/v1/changes", headers=OWN_PAGE, content=b"{}")).json() == {"status": "changed"}


async def test_without_a_session_there_is_nothing_but_a_hint(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/")
    assert (page.status_code, "prebook url" in page.text) == (401, True)
    for path in ("/v1/figures", "/assets/app.css", "/assets/index.html"):
        response = await browser.get(path)
        assert (response.status_code, response.json()["code"]) == (401, "no_session")
    assert (await browser.post("/v1/changes", headers=OWN_PAGE, content=b"{}")).json()["code"] == "no_session"


FOREIGN: Mapping[str, tuple[dict[str, str], int, str]] = {
    "a rebound host": ({**OWN_PAGE, "host": "evil.example"}, 421, "unknown_host"),
    "a host that begins like ours": ({**OWN_PAGE, "host": "localhost.evil.example:8093"}, 421, "unknown_host"),
    "a page of another origin": ({**JSON, "origin": "https://evil.example"}, 403, "foreign_origin"),
    "a page of another port": ({**JSON, "origin": "http://127.0.0.1:8080"}, 403, "foreign_origin"),
    "a sandboxed page": ({**JSON, "origin": "null"}, 403, "foreign_origin"),
    "a client that states no origin": (JSON, 403, "origin_missing"),
    "a form": ({"origin": BASE, "content-type": "text/plain"}, 415, "unsupported_media_type"),
    "a body without a type": ({"origin": BASE}, 415, "unsupported_media_type"),
    "a wrong control token": ({**OWN_PAGE, "authorization": "Bearer wrong"}, 401, "unauthorized"),
    "basic credentials": ({**OWN_PAGE, "authorization": f"Basic {CONTROL_TOKEN}"}, 401, "unauthorized"),
}


@pytest.mark.parametrize("case", FOREIGN)
async def test_a_session_does_not_help(browser: httpx.AsyncClient, sessions: Sessions, case: str) -> None:
    headers, status, code = FOREIGN[case]
    await open_page(browser, sessions)
    response = await browser.post("/v1/changes", headers=headers, content=b"{}")
    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
async def test_a_foreign_page_uses_up_no_token(
    browser: httpx.AsyncClient, sessions: Sessions, headers: dict[str, str]
) -> None:
    url = ADDRESS.with_token(sessions.issue_token())
    assert (await browser.get(url, headers=headers)).status_code in {403, 421}
    assert (await browser.get(url)).status_code == 303


async def test_a_command_gets_a_new_url_by_the_control_token(browser: httpx.AsyncClient) -> None:
    response = await browser.post("/v1/tokens", headers={**BEARER, **JSON}, content=b"{}")
    assert response.status_code == 201
    url = response.json()["url"]
    assert url.startswith(f"{BASE}/?token=")
    assert (await browser.get(url)).status_code == 303


async def test_every_response_forbids_foreign_content(browser: httpx.AsyncClient, sessions: Sessions) -> None:
    refused = await browser.get("/v1/figures")
    redirect = await open_page(browser, sessions)
    others = [await browser.get(path) for path in ("/", "/assets/app.css", "/v1/figures", "/nowhere")]
    for response in (refused, redirect, *others):
        found = {name: response.headers.get_list(name.decode()) for name, _ in SECURITY_HEADERS}
        assert found == {name: [value.decode()] for name, value in SECURITY_HEADERS}
    assert "unsafe" not in refused.headers["content-security-policy"]


class ManualClock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_tokens_and_sessions_expire() -> None:
    clock = ManualClock()
    sessions = Sessions(clock)
    late, in_time = sessions.issue_token(), sessions.issue_token()
    clock.now = TOKEN_LIFETIME_S - 1
    session = sessions.open_session(in_time)
    assert session is not None
    clock.now = TOKEN_LIFETIME_S
    assert sessions.open_session(late) is None
    clock.now = TOKEN_LIFETIME_S - 1 + SESSION_LIFETIME_S - 1
    assert sessions.is_open(session)
    clock.now += 1
    assert not sessions.is_open(session)


def test_the_oldest_token_and_session_give_way() -> None:
    sessions = Sessions()
    tokens = [sessions.issue_token() for _ in range(MAX_TOKENS + 1)]
    assert sessions.open_session(tokens[0]) is None
    opened = [sessions.open_session(sessions.issue_token()) or "" for _ in range(MAX_SESSIONS + 1)]
    assert [sessions.is_open(session) for session in opened] == [False, *[True] * MAX_SESSIONS]


def test_a_token_opens_no_session_by_itself() -> None:
    sessions = Sessions()
    assert not sessions.is_open(sessions.issue_token())
    assert not sessions.is_open("")
