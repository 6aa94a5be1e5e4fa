"""Deadlines of auctions: every overdue one is closed, whatever happens to another."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs

from prebook.matching.deadlines import AuctionDeadlines
from prebook.matching.due_auctions import DueAuctions
from prebook.messaging.envelope import Envelope
from tests.messaging.examples import NOW, request


class OverdueAuctions:
    """Store with overdue auctions, and a gateway that cannot handle the reply for one of them."""

    def __init__(self, *booking_ids: str, bad: str) -> None:
        self.closed: list[str] = []
        self._booking_ids = booking_ids
        self._bad = bad

    @asynccontextmanager
    async def background(self) -> AsyncIterator["OverdueAuctions"]:
        yield self

    async def list_overdue(self, _: int) -> Sequence[str]:
        return self._booking_ids

    async def find_pending_request(self, _: str, conversation_id: str) -> Envelope:
        return request(conversation_id)

    async def process(self, reply: Envelope) -> None:
        if reply.conversation_id == self._bad:
            raise ValueError("a row that cannot be written")
        self.closed.append(reply.conversation_id)


async def test_an_auction_that_cannot_be_closed_keeps_no_other_waiting() -> None:
    auctions = OverdueAuctions("b1", "b2", "b3", bad="b1")
    context: Any = SimpleNamespace(units=auctions, gateway=auctions, clock=lambda: NOW)
    due_auctions = DueAuctions()
    due_auctions.add("b1", -1.0)

    with capture_logs() as logs:
        assert await AuctionDeadlines(context, due_auctions).close_overdue() == 2

    assert auctions.closed == ["b2", "b3"]
    (entry,) = logs
    assert (entry["log_level"], entry["conversation_id"]) == ("error", "b1")
