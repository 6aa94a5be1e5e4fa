"""The in-memory network: what a provider does when its caller gives up."""

import asyncio

import pytest
from litestar import post

from prebook.messaging.errors import Unreachable
from prebook.testing.http import MemoryHttp, create_ready_app


async def test_a_provider_handles_a_request_to_its_end_though_its_caller_gives_up() -> None:
    """A server behind a socket does not cancel a request whose caller has left."""
    begun = asyncio.Event()
    may_go_on = asyncio.Event()
    ended = asyncio.Event()

    @post("/slow")
    async def handle_slowly() -> None:
        begun.set()
        await may_go_on.wait()
        ended.set()

    http = MemoryHttp({"stub": create_ready_app("stub", [handle_slowly])}, ())
    http.connect()
    with pytest.raises(Unreachable, match="in time"):
        await http.request("POST", "stub", "/slow", headers={}, timeout_s=0.1)
    assert begun.is_set()
    may_go_on.set()
    async with asyncio.timeout(20):
        await ended.wait()
    await http.close()


async def test_a_request_ends_with_its_network() -> None:
    cancelled = asyncio.Event()

    @post("/endless")
    async def handle_endlessly() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    http = MemoryHttp({"stub": create_ready_app("stub", [handle_endlessly])}, ())
    http.connect()
    with pytest.raises(Unreachable, match="in time"):
        await http.request("POST", "stub", "/endless", headers={}, timeout_s=0.1)
    await http.close()
    assert cancelled.is_set()
