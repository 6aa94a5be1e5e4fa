"""Signed calls over the real transport: the signature covers the path and the query exactly as they are sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest

from prebook.http.client import ServiceClient, create_http_client, limit_exchange
from prebook.http.signed_client import CallAuth, SignedHttpClient
from prebook.messaging.clock import unix_s
from prebook.patterns.call_signature import UnauthenticCall, derive_secret, read_claim
from prebook.patterns.signature import key_of
from prebook.testing.configuration import signing_secret_of

CALLER = "booking"
RECEIVER = "pricing"
SECRET = signing_secret_of(CALLER)
HOSTILE_TEXTS = (
    "bk_1/campaign-calm-00011",
    "urn:uuid:4e2a",
    "a@b,c;d=e&f",
    "100%",
    "a%2Fb",
    "a b+c",
    "(a)[b]{c}|'d'!$*~",
    "Düne \N{GRINNING FACE}",
    "..",
    "a?b#c",
    '\\^`"<>',
)


@asynccontextmanager
async def recording(requests: list[bytes]) -> AsyncIterator[str]:
    """Serve 200 to every request on a free local port, and record the heads; yields the base URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def is_signed(head: bytes) -> bool:
    """Return whether the signature covers the target of the request as it was received."""
    request_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = request_line.split(" ")
    headers = [(n.strip().lower().encode(), v.strip().encode()) for n, _, v in (line.partition(":") for line in lines)]
    claim = read_claim({CALLER: [key_of(derive_secret(SECRET, RECEIVER))]}, headers, now_s=unix_s())
    try:
        return claim.verify(method, target, b"") == CALLER
    except UnauthenticCall:
        return False


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
async def test_a_service_signs_the_path_as_it_is_sent(text: str) -> None:
    heads: list[bytes] = []
    async with recording(heads) as url:
        http = ServiceClient({RECEIVER: url})
        client = SignedHttpClient(http, CALLER, lambda: (SECRET,))
        for path in (f"/inbox/{quote(text, safe='')}", f"/inbox/x?after={quote(text, safe='')}"):
            await client.request("GET", RECEIVER, path, headers={}, timeout_s=5)
        await http.close()
    assert [is_signed(head) for head in heads] == [True, True]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
async def test_a_command_signs_the_query_as_it_is_sent(text: str) -> None:
    heads: list[bytes] = []
    async with recording(heads) as url, create_http_client() as client, limit_exchange(url, 5):
        await client.get(f"{url}/v1/ledger", params={"after": text}, auth=CallAuth(CALLER, (SECRET,), RECEIVER))
    assert [is_signed(head) for head in heads] == [True]
