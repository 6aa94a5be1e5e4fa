"""Message relay: sends what the outbox holds, as soon as it is committed, many rows at a time, in order per key.

At least once: a crash between handing over and marking sends again, and the receiver's inbox absorbs it.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from prebook.messaging.asyncio_tools import TIMEOUT_CHECK_INTERVAL_S
from prebook.messaging.codec import MAX_BODY_BYTES, encode
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.outbox.abandonment import MAX_REFUSALS
from prebook.messaging.outbox.handoff import Handoff, claimable
from prebook.messaging.outbox.sender import MAX_CLAIMED_ROWS, SEND_TIMEOUT_S, Batch, Sender, SendRow, group_by_key
from prebook.messaging.outbox.store import LeasedRow, Outbox
from prebook.messaging.unit_of_work import OutboxMessage

LEASE_S = 30.0
POLL_INTERVAL_S = 0.5
"""The safety net: a wake-up can be lost, a row cannot."""
MIN_POLL_INTERVAL_S = 0.02
"""What another relay has under way, and we stand behind, is mostly marked by then; then twice as long, and so on."""


class Relay:
    """Runs until cancelled. What its process posts is handed to it (``hand_off``); ``wake`` tells it of the rest."""

    def __init__(self, outbox: Outbox, observer: MessagingObserver, *, max_refusals: int = MAX_REFUSALS) -> None:
        self._outbox = outbox
        self._wake_event = asyncio.Event()
        self._last_claim_full = False
        self._accepts_handoffs = False
        self._poll_delay_s = POLL_INTERVAL_S
        self._sender = Sender(outbox, observer, max_refusals, wake=self._wake_event.set)

    @property
    def is_behind(self) -> bool:
        """There was more to send than one claim, or one lane, takes: another relay of the service could help."""
        return self._last_claim_full or bool(self._sender.full_routes)

    def wake(self) -> None:
        self._wake_event.set()

    @contextmanager
    def hand_off(self, messages: Sequence[OutboxMessage]) -> Iterator[Handoff]:
        """Around the statement that writes them and its commit, with whatever gives their keys an order locked. What
        was claimed leaves at the end, and not at all where that raises: then it may have been committed, or not.
        """
        due = claimable(messages)
        offered = {posting.envelope.id: posting for posting in due if self._can_hand_off(posting)}
        groups, begin_by = group_by_key(list(offered.values())), self._send_before()
        places = {key: self._sender.queue.enqueue(key) for key in groups}
        known = self._sender.leases.seqs_of(groups)
        handover = Handoff(self._outbox.owner, timedelta(seconds=LEASE_S), len(due), offered, known)
        try:
            yield handover
        except BaseException:
            handover.claimed = {}  # for all that is known
            if places and not handover.nothing_written:
                self._sender.mark_uncertain()
            raise
        finally:
            for key, group in groups.items():
                self._sender.start_batch(Batch(places[key], _leased_rows(group, handover), begin_by))
            if handover.has_unclaimed and not handover.nothing_written:
                self._poll_delay_s = MIN_POLL_INTERVAL_S
                self.wake()

    async def run(self, dispatch: SendRow) -> None:
        """Send outbox rows by ``dispatch`` until cancelled.

        ``dispatch`` comes here and not with the constructor, since what it calls may itself write to the outbox, by
        units of work that hand off to this relay.
        """
        self._sender.dispatch = dispatch
        try:
            while True:
                await self._scan_once()
        finally:
            self._accepts_handoffs = False
            self._sender.mark_uncertain()
            await self._sender.drain()

    async def _scan_once(self) -> None:
        await asyncio.sleep(0)  # what was taken just now looks first whether it may go; then we look again
        self._wake_event.clear()
        full, holdings = self._sender.full_routes, self._sender.leases
        self._sender.queue.new_scan()  # before anything is waited for: what stops meanwhile may be spared below
        if (
            self._sender.resync_due() or not self._accepts_handoffs
        ):  # they hold back all behind them, and must come first again
            await self._outbox.release_untracked(holdings.seqs)
        self._accepts_handoffs = True
        begin_by = self._send_before()
        claimed = await self._outbox.claim(MAX_CLAIMED_ROWS, lease_s=LEASE_S, full_routes=full, tracked=holdings.seqs)
        self._sender.enqueue(claimed, begin_by)
        self._last_claim_full = len(claimed) == MAX_CLAIMED_ROWS
        if not self._last_claim_full:
            await self._wait_for_wake()

    async def _wait_for_wake(self) -> None:
        rest_s, self._poll_delay_s = self._poll_delay_s, min(POLL_INTERVAL_S, 2 * self._poll_delay_s)
        try:
            async with asyncio.timeout(rest_s * random.uniform(0.8, 1.2)):
                await self._wake_event.wait()
        except TimeoutError:
            return

    def _send_before(self) -> float:
        """Of a lease that begins after this."""
        return asyncio.get_running_loop().time() + LEASE_S - SEND_TIMEOUT_S - TIMEOUT_CHECK_INTERVAL_S

    def _can_hand_off(self, message: OutboxMessage) -> bool:
        fits = len(encode(message.envelope).body) <= MAX_BODY_BYTES
        return self._accepts_handoffs and self._sender.has_capacity(message.route) and fits


def _leased_rows(messages: Sequence[OutboxMessage], handoff: Handoff) -> Sequence[LeasedRow]:
    """In the order in which they were posted; none that was there before."""
    seqs = ((posting, handoff.claimed.get(posting.envelope.id)) for posting in messages)
    return [LeasedRow(seq, row.route, row.envelope, 0, row.ordering_key) for row, seq in seqs if seq is not None]
