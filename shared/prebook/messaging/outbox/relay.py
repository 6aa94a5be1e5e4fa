"""Message relay: publishes outbox rows as soon as they are committed, many at a time, in order per key.

Delivery is at least once: after a crash between sending and marking, the row is sent again, and the receiver's inbox
discards the duplicate. States, transitions and invariants: docs/architecture/outbox-and-relay.md.

Source: Transactional Outbox, Message Relay.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from prebook.asyncio_tools import TIMEOUT_CHECK_INTERVAL_S
from prebook.messaging.codec import MAX_BODY_BYTES, encode
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.outbox.abandonment import MAX_REFUSALS
from prebook.messaging.outbox.handoff import Handoff, claimable
from prebook.messaging.outbox.sender import MAX_CLAIMED_ROWS, SEND_TIMEOUT_S, Batch, Sender, SendRow, group_by_key
from prebook.messaging.outbox.store import LeasedRow, Outbox
from prebook.messaging.unit_of_work import OutboxMessage

LEASE_S = 30.0
"""Seconds for which a claimed or handed-off row belongs to this relay."""
POLL_INTERVAL_S = 0.5
"""Seconds between scans without a wake-up. A wake-up can be lost; polling finds the row all the same."""
MIN_POLL_INTERVAL_S = 0.02
"""Seconds until the first scan after rows were written behind rows of another relay, which has usually marked its own
by then. The interval doubles with every scan, up to ``POLL_INTERVAL_S``."""


class Relay:
    """Sends the outbox rows of one service until cancelled.

    Rows of its own process are handed to it (``hand_off``); ``wake`` announces rows that others have written.
    """

    def __init__(self, outbox: Outbox, observer: MessagingObserver, *, max_refusals: int = MAX_REFUSALS) -> None:
        """``max_refusals``: consecutive permanent refusals after which a row is abandoned."""
        self._outbox = outbox
        self._wake_event = asyncio.Event()
        self._last_claim_full = False
        self._accepts_handoffs = False
        self._poll_delay_s = POLL_INTERVAL_S
        self._sender = Sender(outbox, observer, max_refusals, wake=self._wake_event.set)

    @property
    def is_behind(self) -> bool:
        """Return whether more rows are due than one claim or one route takes, so that another relay would help."""
        return self._last_claim_full or bool(self._sender.full_routes)

    def wake(self) -> None:
        """Start the next scan now instead of after the poll interval."""
        self._wake_event.set()

    @contextmanager
    def hand_off(self, messages: Sequence[OutboxMessage]) -> Iterator[Handoff]:
        """Wrap the statement that writes ``messages`` and its commit; afterwards send the rows it has leased.

        Enter with the lock held that orders the messages of a key. If the block raises, no row is sent from here: the
        commit may have happened or not, and a scan finds the rows if it has.
        """
        due = claimable(messages)
        offered = {message.envelope.id: message for message in due if self._can_hand_off(message)}
        messages_by_key = group_by_key(list(offered.values()))
        send_before = self._send_before()
        tickets = {key: self._sender.queue.enqueue(key) for key in messages_by_key}
        tracked = self._sender.leases.seqs_of(messages_by_key)
        handoff = Handoff(self._outbox.owner, timedelta(seconds=LEASE_S), len(due), offered, tracked)
        try:
            yield handoff
        except BaseException:
            handoff.claimed = {}  # the outcome of the commit is unknown
            if tickets and not handoff.nothing_written:
                self._sender.mark_uncertain()
            raise
        finally:
            for key, group in messages_by_key.items():
                self._sender.start_batch(Batch(tickets[key], _leased_rows(group, handoff), send_before))
            if handoff.has_unclaimed and not handoff.nothing_written:
                self._poll_delay_s = MIN_POLL_INTERVAL_S
                self.wake()

    async def run(self, dispatch: SendRow) -> None:
        """Send outbox rows by ``dispatch`` until cancelled.

        ``dispatch`` is an argument of ``run`` and not of the constructor, because its callees may write to the outbox
        by units of work that hand off to this relay. Raises whatever the database raises.
        """
        self._sender.start(dispatch)
        try:
            while True:
                await self._scan_once()
        finally:
            self._accepts_handoffs = False
            self._sender.mark_uncertain()
            await self._sender.stop()

    async def _scan_once(self) -> None:
        await asyncio.sleep(0)  # batches of the previous claim check their tickets before a new scan starts
        self._wake_event.clear()
        full_routes = self._sender.full_routes
        leases = self._sender.leases
        # The scan starts before the first await: a key blocked during the claim may rest on stale reads.
        self._sender.queue.new_scan()
        if self._sender.resync_due() or not self._accepts_handoffs:
            # Untracked leases block every later row of their keys, so they end before new rows are claimed.
            await self._outbox.release_untracked(leases.seqs)
        self._accepts_handoffs = True
        send_before = self._send_before()
        rows = await self._outbox.claim(MAX_CLAIMED_ROWS, lease_s=LEASE_S, full_routes=full_routes, tracked=leases.seqs)
        self._sender.enqueue(rows, send_before)
        self._last_claim_full = len(rows) == MAX_CLAIMED_ROWS
        if not self._last_claim_full:
            await self._wait_for_wake()

    async def _wait_for_wake(self) -> None:
        delay_s = self._poll_delay_s
        self._poll_delay_s = min(POLL_INTERVAL_S, 2 * self._poll_delay_s)
        try:
            async with asyncio.timeout(delay_s * random.uniform(0.8, 1.2)):
                await self._wake_event.wait()
        except TimeoutError:
            return

    def _send_before(self) -> float:
        """Loop time until which rows leased from now on may be sent, so that no send outlasts its lease."""
        return asyncio.get_running_loop().time() + LEASE_S - SEND_TIMEOUT_S - TIMEOUT_CHECK_INTERVAL_S

    def _can_hand_off(self, message: OutboxMessage) -> bool:
        is_small_enough = len(encode(message.envelope).body) <= MAX_BODY_BYTES
        return self._accepts_handoffs and self._sender.has_capacity(message.route) and is_small_enough


def _leased_rows(messages: Sequence[OutboxMessage], handoff: Handoff) -> Sequence[LeasedRow]:
    """Rows that the transaction wrote and leased, in the order of ``messages``."""
    with_seqs = ((message, handoff.claimed.get(message.envelope.id)) for message in messages)
    return [
        LeasedRow(seq, message.route, message.envelope, 0, message.ordering_key)
        for message, seq in with_seqs
        if seq is not None
    ]
