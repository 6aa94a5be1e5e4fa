"""Message relay: sends what the outbox holds, as soon as it is committed, many rows at a time, in order per key.

At least once: a crash between handing over and marking sends again, and the receiver's inbox absorbs it.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from prebook.messaging.asyncio_tools import LOOK_EVERY_S
from prebook.messaging.codec import LONGEST_BODY, encode
from prebook.messaging.observer import Watch
from prebook.messaging.outbox.abandonment import MOST_REFUSALS
from prebook.messaging.outbox.handoff import Handover, offerable
from prebook.messaging.outbox.sender import BATCH, SEND_TIMEOUT_S, Group, Send, Sending, by_key
from prebook.messaging.outbox.store import Claimed, Outbox
from prebook.messaging.unit_of_work import Posting

LEASE_S = 30.0
POLL_S = 0.5
"""The safety net: a wake-up can be lost, a row cannot."""
SOON_S = 0.02
"""What another relay has under way, and we stand behind, is mostly marked by then; then twice as long, and so on."""


class Relay:
    """Runs until cancelled. What its process posts is handed to it (``taking``); ``wake`` tells it of the rest."""

    def __init__(self, outbox: Outbox, send: Send, watch: Watch, *, most_refusals: int = MOST_REFUSALS) -> None:
        self._outbox = outbox
        self._woken, self._full, self._takes, self._rest_s = asyncio.Event(), False, False, POLL_S
        self._sending = Sending(outbox, send, watch, most_refusals, wake=self._woken.set)

    @property
    def behind(self) -> bool:
        """There was more to send than one claim, or one lane, takes: another relay of the service could help."""
        return self._full or bool(self._sending.full_lanes)

    def wake(self) -> None:
        self._woken.set()

    @contextmanager
    def taking(self, postings: Sequence[Posting]) -> Iterator[Handover]:
        """Around the statement that writes them and its commit, with whatever gives their keys an order locked. What
        was claimed leaves at the end, and not at all where that raises: then it may have been committed, or not.
        """
        due = offerable(postings)
        offered = {posting.envelope.id: posting for posting in due if self._could_take(posting)}
        groups, begin_by = by_key(list(offered.values())), self._begin_by()
        places = {key: self._sending.lines.joined(key) for key in groups}
        known = self._sending.holdings.of(groups)
        handover = Handover(self._outbox.owner, timedelta(seconds=LEASE_S), len(due), offered, known)
        try:
            yield handover
        except BaseException:
            handover.claimed = {}  # for all that is known
            if places and not handover.void:
                self._sending.doubt()
            raise
        finally:
            for key, group in groups.items():
                self._sending.start(Group(places[key], _claimed(group, handover), begin_by))
            if handover.left and not handover.void:
                self._rest_s = SOON_S
                self.wake()

    async def run(self) -> None:
        try:
            while True:
                await self._turn()
        finally:
            self._takes = False
            self._sending.doubt()
            await self._sending.drained()

    async def _turn(self) -> None:
        await asyncio.sleep(0)  # what was taken just now looks first whether it may go; then we look again
        self._woken.clear()
        full, holdings = self._sending.full_lanes, self._sending.holdings
        self._sending.lines.look()  # before anything is waited for: what stops meanwhile may be spared below
        if self._sending.doubts() or not self._takes:  # they hold back all behind them, and must come first again
            await self._outbox.let_go(holdings.all)
        self._takes = True
        begin_by = self._begin_by()
        claimed = await self._outbox.claim(BATCH, lease_s=LEASE_S, full_lanes=full, known=holdings.all)
        self._sending.take(claimed, begin_by)
        self._full = len(claimed) == BATCH
        if not self._full:
            await self._rest()

    async def _rest(self) -> None:
        rest_s, self._rest_s = self._rest_s, min(POLL_S, 2 * self._rest_s)
        try:
            async with asyncio.timeout(rest_s * random.uniform(0.8, 1.2)):
                await self._woken.wait()
        except TimeoutError:
            return

    def _begin_by(self) -> float:
        """Of a lease that begins after this."""
        return asyncio.get_running_loop().time() + LEASE_S - SEND_TIMEOUT_S - LOOK_EVERY_S

    def _could_take(self, posting: Posting) -> bool:
        fits = len(encode(posting.envelope).body) <= LONGEST_BODY
        return self._takes and self._sending.has_room(posting.lane) and fits


def _claimed(postings: Sequence[Posting], handover: Handover) -> Sequence[Claimed]:
    """In the order in which they were posted; none that was there before."""
    seqs = ((posting, handover.claimed.get(posting.envelope.id)) for posting in postings)
    return [Claimed(seq, row.lane, row.envelope, 0, row.order_key) for row, seq in seqs if seq is not None]
