"""The page over a real socket, on the event loop of another program."""

import signal

import httpx
import pytest

from prebook.control_room.app import PageAddress, create_control_room
from prebook.control_room.server import serve_page
from prebook.control_room.sessions import Sessions
from prebook.devstack.errors import UserError
from prebook.devstack.ports import LOOPBACK, allocate_ports
from prebook.devstack.supervisor.control_api import token_digest


async def test_the_page_is_served_on_this_machine_and_leaves_signals_alone() -> None:
    (port,) = allocate_ports(1)
    address = PageAddress(f"http://{LOOPBACK}:{port}", port)
    sessions = Sessions()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with (
        serve_page(create_control_room(address, sessions, token_digest("token")), LOOPBACK, port),
        httpx.AsyncClient(trust_env=False, follow_redirects=True) as browser,
    ):
        page = await browser.get(address.with_token(sessions.issue_token()))
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    async with httpx.AsyncClient(trust_env=False) as browser:
        with pytest.raises(httpx.ConnectError):
            await browser.get(address.base_url)


async def test_a_taken_port_is_an_error_with_a_remedy() -> None:
    (port,) = allocate_ports(1)
    app = create_control_room(PageAddress("http://127.0.0.1", port), Sessions(), token_digest("token"))
    async with serve_page(app, LOOPBACK, port):
        with pytest.raises(UserError, match=f"cannot listen on {LOOPBACK}:{port}"):
            async with serve_page(app, LOOPBACK, port):
                pass
