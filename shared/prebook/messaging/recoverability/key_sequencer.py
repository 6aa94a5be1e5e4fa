"""Sequencer of messages by ordering key, across retries and any number of replicas.

A message that fails is stored as blocked, and so are later messages of its key; each is then acknowledged, so that it
delays no other key and occupies no prefetch. Any replica that finds a key due tries its first message again and
continues with those behind it. A partition has one active consumer; while two replicas both believe to be it, each
goes through a key in order and the inbox applies each effect once, so the order of effects holds.
States, transitions and invariants: docs/architecture/ordering-and-blocked-keys.md.
Source: EIP, Resequencer (a relative: order comes from delivery here, not from sequence numbers).
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from typing import Any

import structlog

from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import LoneOutage, Unreachable, error_summary
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.policy import Policies
from prebook.messaging.recoverability.blocked_keys import BlockedKeys, BlockStatus
from prebook.messaging.recoverability.consumer_circuit import LoneOutages
from prebook.messaging.recoverability.decision import FailureRecovery, try_handle
from prebook.patterns.message_groups import OnPoison

BEHIND_PARKED = "behind_parked"
"""Cause of a message that is parked only because an earlier one of its key is."""
SCAN_INTERVAL_S = 1.0
"""Maximum pause between scans: another replica may have blocked a message and died."""
MAX_CONCURRENT_KEYS = 32
"""Keys that are tried again at a time; one that takes long occupies one place and delays no other key."""
MAX_LONE_MESSAGES = 10_000
"""Blocked messages whose outages are remembered; more than these meet one together."""
MIN_SCAN_DELAY_S = 0.05
"""Minimum pause before a scan: one scan serves all messages that are blocked during the pause."""
log = structlog.get_logger()

PublishDeadLetter = Callable[[str, Envelope, str, Exception | None], Awaitable[None]]
"""Dead-letters a message under the name of its group: group, message, cause, error. Raises Unreachable."""


class KeySequencer:
    """Sequencer of one service: ``process`` handles deliveries, ``run`` the blocked messages that are due."""

    def __init__(
        self,
        groups: Mapping[str, str],
        blocked_keys: BlockedKeys,
        handler: MessageHandler,
        *,
        dead_letter: PublishDeadLetter,
        policies: Policies,
        observer: MessagingObserver,
    ) -> None:
        """``groups``: partition -> address of its message group."""
        self.groups = groups
        self._blocked_keys = blocked_keys
        self._handler = handler
        self._recovery = FailureRecovery(policies, observer)
        self._dead_letter = dead_letter
        self._policies = policies
        self._last_turn: dict[tuple[str, str], asyncio.Event] = {}
        self._wake_event = asyncio.Event()
        self._scan_times = list[float]()
        self._handled = 0
        self._lone_outages = defaultdict[str, LoneOutages](lambda: LoneOutages(lambda: self._handled))
        """Outages of blocked messages, by message id; kept until the message is handled or has failed."""

    @asynccontextmanager
    async def wait_turn(self, group: str, key: str) -> AsyncIterator[None]:
        """Wait until all earlier callers of the key have left the block. Call it before awaiting anything else."""
        previous = self._last_turn.get((group, key))
        done = asyncio.Event()
        self._last_turn[group, key] = done
        try:
            if previous:
                await previous.wait()
            yield
        finally:
            done.set()
            if self._last_turn.get((group, key)) is done:
                del self._last_turn[group, key]

    async def process_or_hold(self, group: str, envelope: Envelope) -> Exception | None:
        """Process the message as ``process`` does, and raise Unreachable for any error of the sequencer itself.

        The message then stays unacknowledged. If it were acknowledged before its position is stored, later messages
        could overtake it.
        """
        try:
            return await self.process(group, envelope)
        except Unreachable:
            raise
        except Exception as error:
            log.exception("key sequencer failed, message kept unacknowledged", queue=group, message_id=envelope.id)
            raise Unreachable(error_summary(error)) from error

    async def recover_or_hold(self, group: str, envelope: Envelope, error: Exception) -> None:
        """Retry or park a message that ``process_or_hold`` could not handle, as if its handler had raised ``error``.

        Raises Unreachable: it must stay unacknowledged.
        """
        try:
            await self._handle_failure(group, envelope, error)
        except Unreachable:
            raise
        except Exception as failure:
            log.exception("key sequencer failed, message kept unacknowledged", queue=group, message_id=envelope.id)
            raise Unreachable(error_summary(failure)) from failure

    async def process(self, group: str, envelope: Envelope) -> Exception | None:
        """Handle, block or park the message, and return the handler's error if it raised one.

        Raises Unreachable if a dependency is down: nothing has changed, and the message must not be acknowledged.
        """
        status = await self._blocked_keys.read_status(group, envelope)
        if status.message_status is BlockStatus.WAITING:
            return None
        if status.last_status and not status.message_status:
            await self._block_behind(group, envelope, status.last_status)
            return None
        error = await try_handle(self._handler, envelope)
        self._handled += error is None
        if error:
            await self._handle_failure(group, envelope, error)
        elif status.message_status:
            await self._blocked_keys.unblock(group, envelope)
            self._schedule_scan(0.0)
        return error

    async def run(self) -> None:
        """Try due keys again, until cancelled."""
        resuming: dict[tuple[str, str], asyncio.Task[bool]] = {}
        try:
            while True:
                await self._start_due_keys(resuming)
                next_scan = asyncio.create_task(self._wait_for_next_scan())
                try:
                    while not next_scan.done() and not _take_ended(resuming):
                        await asyncio.wait({next_scan, *resuming.values()}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await _cancel(next_scan)
        finally:
            await _cancel(*resuming.values())

    async def _start_due_keys(self, resuming: dict[tuple[str, str], asyncio.Task[bool]]) -> None:
        """Start to resume due keys, unless they are being resumed, up to MAX_CONCURRENT_KEYS in all."""
        due = await self._blocked_keys.list_due_keys(MAX_CONCURRENT_KEYS + len(resuming))
        new = [each for each in due if each not in resuming]
        for group, key in new[: MAX_CONCURRENT_KEYS - len(resuming)]:
            resuming[group, key] = asyncio.create_task(self._resume_key(group, key))

    async def _block_behind(self, group: str, envelope: Envelope, last: BlockStatus) -> None:
        if last is BlockStatus.PARKED and self._on_poison(envelope) is OnPoison.PARK:
            return await self._park_behind(group, envelope)
        return await self._block(group, envelope, 0.0, "behind another")

    async def _resume_key(self, group: str, key: str) -> bool:
        """Handle the waiting messages of a key in order until one fails. Return whether any was tried."""
        tried = False
        async with self._blocked_keys.try_lock(group, key) as locked:
            while locked and (first := await self._blocked_keys.find_next_due(group, key)):
                tried = True
                error = await self._try_blocked(first)
                if error is None:
                    await self._blocked_keys.unblock(group, first)
                elif await self._handle_failure(group, first, error):
                    break
        return tried

    async def _try_blocked(self, envelope: Envelope) -> Exception | None:
        """Handle a blocked message, and return the error to recover from: also an outage that only it meets."""
        try:
            error = await try_handle(self._handler, envelope)
        except Unreachable as outage:
            if len(self._lone_outages) > MAX_LONE_MESSAGES:
                self._lone_outages.clear()
            if not self._lone_outages[envelope.id].record():
                raise
            error = LoneOutage(f"only this message meets an outage: {error_summary(outage)}")
        self._lone_outages.pop(envelope.id, None)
        self._handled += error is None
        return error

    async def _handle_failure(self, group: str, envelope: Envelope, error: Exception) -> bool:
        """Return whether the key stays blocked."""

        async def retry(next_attempt: Envelope, delay_s: float) -> bool:
            await self._block(group, next_attempt, delay_s, error_summary(error))
            return True

        async def dead_letter(cause: str, error: Exception) -> bool:
            return await self._park(group, envelope, cause, error)

        return await self._recovery.recover(envelope, error, retry=retry, dead_letter=dead_letter)

    async def _park(self, group: str, envelope: Envelope, cause: str, error: Exception) -> bool:
        """Dead-letter the message, and apply its poison policy to its key. Return whether the key stays blocked."""
        await self._dead_letter(group, envelope, cause, error)
        policy = self._on_poison(envelope)
        log.warning(
            "poison policy applied",
            queue=group,
            key=envelope.conversation_id,
            message_id=envelope.id,
            on_poison=str(policy),
        )
        if policy is OnPoison.CONTINUE:
            await self._blocked_keys.unblock(group, envelope)
            return False
        await self._blocked_keys.block(group, envelope, BlockStatus.PARKED, delay_s=0.0, error=error_summary(error))
        if policy is OnPoison.PARK:
            for follower in await self._blocked_keys.list_waiting(group, envelope.conversation_id):
                await self._park_behind(group, follower)
        return True

    async def _park_behind(self, group: str, envelope: Envelope) -> None:
        await self._dead_letter(group, envelope, BEHIND_PARKED, None)
        await self._blocked_keys.block(group, envelope, BlockStatus.PARKED, delay_s=0.0, error=BEHIND_PARKED)

    async def _block(self, group: str, envelope: Envelope, delay_s: float, error: str) -> None:
        await self._blocked_keys.block(group, envelope, BlockStatus.WAITING, delay_s=delay_s, error=error)
        self._schedule_scan(delay_s)

    def _on_poison(self, envelope: Envelope) -> OnPoison:
        policy = self._policies.get(envelope.flow)
        return policy.on_poison if policy else OnPoison.CONTINUE

    def _schedule_scan(self, seconds: float) -> None:
        heappush(self._scan_times, time.monotonic() + max(seconds, MIN_SCAN_DELAY_S))
        self._wake_event.set()

    async def _wait_for_next_scan(self) -> None:
        """Wait until a message blocked here is due, at most ``SCAN_INTERVAL_S`` seconds."""
        latest = time.monotonic() + SCAN_INTERVAL_S
        while (left_s := min((*self._scan_times[:1], latest)) - time.monotonic()) > 0:
            self._wake_event.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._wake_event.wait()
            except TimeoutError:
                break
        while self._scan_times and self._scan_times[0] <= time.monotonic():
            heappop(self._scan_times)


def _take_ended(resuming: dict[tuple[str, str], asyncio.Task[bool]]) -> bool:
    """Remove the keys that have been resumed, and return whether a message of one was tried. Raises what one raised."""
    ended = [each for each, task in resuming.items() if task.done()]
    return any([resuming.pop(each).result() for each in ended])  # noqa: C419 - all of them, not only up to the first


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
