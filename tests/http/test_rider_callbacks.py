"""RiderCallbacks: signed callbacks, only to allowed hosts and public addresses."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from prebook.http.public_addresses import is_public_address
from prebook.http.rider_callbacks import (
    CALLBACK_TIMEOUT_S,
    MAX_CONCURRENT_CALLS,
    CallbackFailed,
    ForbiddenTarget,
    RiderCallbacks,
    TargetGone,
)
from prebook.patterns.retry import MAX_EXTERNAL_BACKOFF_S
from prebook.patterns.signature import verify
from tests.conditions import wait_until
from tests.listener import listen

NOW = 1_800_000_000.0
SECRETS = ("newest secret of rider callbacks", "previous secret of rider callbacks")


def callbacks(*hosts: str) -> RiderCallbacks:
    return RiderCallbacks(frozenset(hosts), lambda: SECRETS, clock=lambda: NOW)


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


@pytest.mark.parametrize("url", ["http://[::1", "//[", "http://a]/", "\x00", ""])
async def test_a_target_that_is_no_url_is_forbidden(url: str) -> None:
    with pytest.raises(ForbiddenTarget):
        await callbacks("hooks.example").send(url, "m1", b"{}")


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


@pytest.mark.parametrize("location", ["http://xn--a", "http://xn--0x7f", "http:..", "http://[::1", "/\xff"])
async def test_a_redirect_to_a_malformed_target_is_retried_as_any_other(location: str) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"location": location})

    async with listen(handle) as url:
        with pytest.raises(CallbackFailed, match="307"):
            await callbacks(url).send(f"{url}/hook", "m1", b"{}")


@pytest.mark.parametrize(("status", "failure"), [(500, CallbackFailed), (404, CallbackFailed), (410, TargetGone)])
async def test_the_status_decides_whether_a_callback_is_retried(status: int, failure: type[Exception]) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with listen(handle) as url:
        with pytest.raises(failure):
            await callbacks(url).send(f"{url}/hook", "m1", b"{}")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("in_seconds", [True, False], ids=["seconds", "date"])
async def test_a_pause_that_a_receiver_asks_for_is_kept(status: int, in_seconds: bool) -> None:
    """The next callback to this receiver is not even sent; other receivers get theirs."""
    requests: list[str] = []
    pause = "600" if in_seconds else format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)

    async def refuse(request: web.Request) -> web.Response:
        requests.append(request.path)
        return web.Response(status=status, headers={"retry-after": pause})

    async def accept(request: web.Request) -> web.Response:
        requests.append(request.path)
        return web.Response(status=204)

    async with listen(refuse) as url, listen(accept) as other:
        sender = callbacks(url, other)
        errors = []
        for number in range(2):
            with pytest.raises(CallbackFailed) as raised:
                await sender.send(f"{url}/{number}", f"m{number}", b"{}")
            errors.append(raised.value)
        await sender.send(f"{other}/other", "m3", b"{}")

    assert requests == ["/0", "/other"]
    assert [error.was_called for error in errors] == [True, False]
    assert [error.retry_after_s for error in errors] == [pytest.approx(600, abs=30)] * 2


async def test_an_endless_pause_is_capped() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=503, headers={"retry-after": "86400"})

    async with listen(refuse) as url:
        with pytest.raises(CallbackFailed) as raised:
            await callbacks(url).send(f"{url}/hook", "m1", b"{}")
    assert raised.value.retry_after_s == MAX_EXTERNAL_BACKOFF_S


async def test_a_slow_receiver_takes_a_few_callbacks_at_a_time_and_delays_no_other() -> None:
    answers = asyncio.Event()
    waiting = 0

    async def hang(_: web.Request) -> web.Response:
        nonlocal waiting
        waiting += 1
        await answers.wait()
        return web.Response(status=204)

    async def accept(_: web.Request) -> web.Response:
        return web.Response(status=204)

    async with listen(hang) as slow, listen(accept) as fast:
        sender = callbacks(slow, fast)
        calls = [asyncio.create_task(sender.send(f"{slow}/hook", f"m{n}", b"{}")) for n in range(MAX_CONCURRENT_CALLS)]
        await wait_until(lambda: waiting == MAX_CONCURRENT_CALLS, 10.0)
        with pytest.raises(CallbackFailed) as raised:
            await sender.send(f"{slow}/hook", "one more", b"{}")
        await sender.send(f"{fast}/hook", "another receiver", b"{}")
        answers.set()
        await asyncio.gather(*calls)

    assert (raised.value.was_called, waiting) == (False, MAX_CONCURRENT_CALLS)


def test_a_receiver_has_15_s_for_its_answer() -> None:
    assert CALLBACK_TIMEOUT_S == 15.0


async def test_an_unreachable_target_is_retried() -> None:
    with pytest.raises(CallbackFailed, match="connection refused"):
        await callbacks("http://127.0.0.1:9").send("http://127.0.0.1:9/hook", "m1", b"{}")


async def test_a_host_with_a_private_address_is_refused_when_connecting() -> None:
    """A listener stands at the private address, since a refused connection would look like a refused target."""
    connected = asyncio.Event()

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as canary:
        host = f"localhost:{canary.sockets[0].getsockname()[1]}"
        with pytest.raises((ForbiddenTarget, CallbackFailed)) as raised:
            await callbacks(host).send(f"https://{host}/hook", "m1", b"{}")

    assert not connected.is_set()
    assert isinstance(raised.value, ForbiddenTarget)
    assert str(raised.value) == "localhost resolves to an address that is not public"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "127.1", "127.0.0.1."])
async def test_a_private_address_in_a_url_is_refused_even_if_it_is_listed(host: str) -> None:
    with pytest.raises(ForbiddenTarget):
        await callbacks(host).send(f"https://{host}/hook", "m1", b"{}")


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
        *("::", "::10.0.0.1", "::127.0.0.1", "::ffff:0:10.0.0.1", "fec0::1", "feff::1", "ff0e::1", "100::1"),
        *("64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::a00:1", "2002:a00:1::1", "2002:c0a8:101::"),
        *("2001:0:53aa:64c::f5ff:fffe", "2001:0:a00:1::1", "2001:db8::1", "3fff::1", "5f00::1", "4000::1"),
        *("2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:10.0.0.1", "192.0.0.8", "192.88.99.1", "198.18.0.1"),
        *("192.0.2.1", "240.0.0.1", "255.255.255.255", "", "127.1", "localhost"),
    ],
)
def test_an_address_is_not_public(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_an_address_is_public(address: str) -> None:
    assert is_public_address(address)
