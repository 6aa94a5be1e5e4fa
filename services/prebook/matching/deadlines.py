"""Deadlines of auctions: how long an auction with an offer waits for the other fleets. Each replica scans."""

from prebook.contracts.message import Unavailable
from prebook.flows import ASK_FLEET, FIND_DRIVER
from prebook.matching.due_auctions import DUE_AUCTIONS, DueAuctions
from prebook.matching.store import MatchingWork
from prebook.messaging.deadlines import settle_each
from prebook.messaging.envelope import Envelope, MessageKind, message_id, reply_id
from prebook.runtime.service import ServiceContext

SCAN_INTERVAL_S = 0.1
MAX_OVERDUE = 100
"""Maximum number of auctions that one scan closes; the next scan closes the rest."""
DEADLINE_KEY = "deadline"
"""Key of the synthetic reply that closes an auction at its deadline; no fleet has this name."""


class AuctionDeadlines:
    """Finds overdue auctions and lets the handler of replies decide them. One that fails keeps no other waiting."""

    def __init__(self, context: ServiceContext[MatchingWork], due_auctions: DueAuctions = DUE_AUCTIONS) -> None:
        self._context = context
        self._due_auctions = due_auctions

    async def close_overdue(self) -> int:
        """Close all overdue auctions that one scan finds; return their number. Most calls need no scan."""
        if not self._due_auctions.begin_scan():
            return 0
        async with self._context.units.background() as work:
            overdue = await work.list_overdue(MAX_OVERDUE)
            found = [await work.find_pending_request(FIND_DRIVER.name, booking_id) for booking_id in overdue]
        return await settle_each([request for request in found if request is not None], self._close)

    async def _close(self, request: Envelope) -> None:
        await self._context.gateway.process(self._deadline_reply(request))

    def _deadline_reply(self, request: Envelope) -> Envelope:
        """Return the synthetic reply. Its id differs from those of fleets' replies, and is the same in all replicas."""
        return Envelope(
            id=reply_id(message_id(request.conversation_id, ASK_FLEET.name, DEADLINE_KEY)),
            kind=MessageKind.REPLY,
            flow=ASK_FLEET.name,
            body=Unavailable(reason="deadline"),
            source="matching",
            conversation_id=request.conversation_id,
            time=self._context.clock(),
            plan=request.plan,
            trace=request.trace.child(),
        )
