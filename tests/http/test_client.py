"""The HTTP client over aiohttp's transport: TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from prebook.http.client import ServiceClient, create_http_client, create_transport
from prebook.messaging.errors import Unreachable

SELF_SIGNED = Path(__file__).with_name("self_signed.pem")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve connections on a free local port; yields host and port."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"{host}:{port}"


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[ServiceClient]:
    """A client whose service ``provider`` is at ``url``."""
    client = ServiceClient({"provider": url})
    try:
        yield client
    finally:
        await client.close()


async def reply_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    await writer.drain()
    writer.close()


async def test_a_certificate_that_no_authority_has_signed_is_refused() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(SELF_SIGNED)
    async with listening(reply_ok, tls) as address, calling(f"https://{address}") as client:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await client.request("GET", "provider", "/", headers={}, timeout_s=5.0)


async def test_no_transport_loads_certificate_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading them takes tens of milliseconds of the event loop, and a callback to a rider has its own client."""

    def refuse(*_: object, **__: object) -> ssl.SSLContext:
        raise AssertionError("certificate authorities loaded")

    monkeypatch.setattr(ssl, "create_default_context", refuse)
    transport = create_transport()
    async with listening(reply_ok) as address, create_http_client() as client:
        assert (await client.get(f"http://{address}")).status_code == 200
    await transport.aclose()
