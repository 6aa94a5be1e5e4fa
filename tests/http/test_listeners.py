"""Two listeners of one server, over real sockets."""

import asyncio
import socket

import httpx
import pytest
import uvicorn
from litestar import get

from prebook.http.listeners import ListenerApp, bind_listener
from prebook.testing.http import create_ready_app
from tests.conditions import wait_until

LOOPBACK = "127.0.0.1"


@get("/ride")
async def ride() -> str:
    return "public"


@get("/ledger")
async def ledger() -> str:
    return "internal"


async def test_the_port_decides_which_application_answers_whatever_the_request_says() -> None:
    with bind_listener(LOOPBACK, 0) as public, bind_listener(LOOPBACK, 0) as internal:
        ports = [listener.getsockname()[1] for listener in (public, internal)]
        app = ListenerApp(create_ready_app("stub", [ride]), create_ready_app("stub", [ledger]), ports[1])
        server = uvicorn.Server(uvicorn.Config(app, http="httptools", log_config=None, lifespan="on"))
        task = asyncio.create_task(server.serve(sockets=[public, internal]))
        await wait_until(lambda: server.started, 30)
        pretending = [{}, {"host": f"{LOOPBACK}:{ports[1]}"}, {"x-forwarded-port": str(ports[1])}]
        async with httpx.AsyncClient(trust_env=False) as client:
            found = [
                [
                    (await client.get(f"http://{LOOPBACK}:{port}{path}", headers=headers)).status_code
                    for path in ("/ride", "/ledger", "/livez")
                ]
                for port in ports
                for headers in pretending
            ]
        server.should_exit = True
        await task

    assert found == [[200, 404, 200]] * 3 + [[404, 200, 200]] * 3


def test_a_taken_address_is_an_error() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken, pytest.raises(OSError, match="in use"):
        bind_listener(LOOPBACK, taken.getsockname()[1])


def test_a_listener_may_have_an_ipv6_address() -> None:
    try:
        listener = bind_listener("::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert listener.family is socket.AF_INET6
