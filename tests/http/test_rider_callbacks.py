"""RiderCallbacks: signed callbacks, only to allowed hosts and public addresses."""

import asyncio

import pytest
from aiohttp import web

from prebook.http.rider_callbacks import (
    CallbackFailed,
    ForbiddenTarget,
    RiderCallbacks,
    TargetGone,
    is_public_address,
)
from prebook.patterns.signature import verify
from tests.listener import listen

NOW = 1_800_000_000.0
SECRETS = ("newest secret of rider callbacks", "previous secret of rider callbacks")


def callbacks(*hosts: str) -> RiderCallbacks:
    return RiderCallbacks(frozenset(hosts), SECRETS, clock=lambda: NOW)


async def test_a_callback_arrives_with_a_valid_signature() -> None:
    received: list[tuple[str, bytes]] = []

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        received.append((verify(SECRETS, request.headers, body, now_s=NOW), body))
        return web.Response()

    async with listen(handle) as url:
        await callbacks(url).send(f"{url}/hook", "m1", b"{}")

    assert received == [("m1", b"{}")]


async def test_a_target_that_is_not_allowed_is_not_called() -> None:
    called = asyncio.Event()

    async def handle(_: web.Request) -> web.Response:
        called.set()
        return web.Response()

    async with listen(handle) as url:
        for hosts in ((), ("hooks.example",), (url.replace("http://", ""),), ("http://127.0.0.1:1",)):
            with pytest.raises(ForbiddenTarget):
                await callbacks(*hosts).send(f"{url}/hook", "m1", b"{}")

    assert not called.is_set()


async def test_a_redirect_is_not_followed() -> None:
    followed = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/elsewhere":
            followed.set()
        return web.Response(status=307, headers={"location": "/elsewhere"})

    async with listen(handle) as url:
        with pytest.raises(CallbackFailed, match="307"):
            await callbacks(url).send(f"{url}/hook", "m1", b"{}")

    assert not followed.is_set()


@pytest.mark.parametrize(("status", "failure"), [(500, CallbackFailed), (404, CallbackFailed), (410, TargetGone)])
async def test_the_status_decides_whether_a_callback_is_retried(status: int, failure: type[Exception]) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with listen(handle) as url:
        with pytest.raises(failure):
            await callbacks(url).send(f"{url}/hook", "m1", b"{}")


async def test_an_unreachable_target_is_retried() -> None:
    with pytest.raises(CallbackFailed, match="connection refused"):
        await callbacks("http://127.0.0.1:9").send("http://127.0.0.1:9/hook", "m1", b"{}")


async def test_a_host_with_a_private_address_is_refused_when_connecting() -> None:
    with pytest.raises((ForbiddenTarget, CallbackFailed)) as raised:
        await callbacks("localhost").send("https://localhost/hook", "m1", b"{}")

    assert isinstance(raised.value, ForbiddenTarget), "no connection is attempted"
    assert str(raised.value) == "localhost resolves to an address that is not public"


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",  # noqa: S104 - not a bind address
            "224.0.0.1",
        ),
        *("::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1"),
    ],
)
def test_an_address_is_not_public(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_an_address_is_public(address: str) -> None:
    assert is_public_address(address)
