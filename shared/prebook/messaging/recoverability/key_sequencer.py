"""Handles what one conversation is told in the order in which it came, also across retries and any number of replicas.

A message that fails is put down, durably, with what comes after it under the same key; then it is acknowledged, so that
it holds back its own key and no other, and no place of the prefetch. Whoever finds it due tries again, and goes on with
what waits behind it. A partition has one active consumer; where two believe to be it, each of them goes through a key
in order and each effect happens once, so that order is kept.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from heapq import heappop, heappush

import structlog

from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Unreachable, error_summary
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.policy import Policies
from prebook.messaging.recoverability.blocked_keys import BlockedKeys, BlockStatus
from prebook.messaging.recoverability.decision import FailureRecovery
from prebook.patterns.message_groups import OnPoison

BEHIND_PARKED = "behind_parked"
"""Cause of what is parked only because one before it is."""
SCAN_INTERVAL_S, MAX_CONCURRENT_KEYS = 1.0, 8
"""Another replica may have put something down and be gone."""
MIN_SCAN_DELAY_S = 0.05
"""One look for all that is put down behind others meanwhile."""
log = structlog.get_logger()

PublishDeadLetter = Callable[[str, Envelope, str, Exception | None], Awaitable[None]]
"""Parks a message under its group's name: group, message, cause, error. Raises Unreachable."""


class KeySequencer:
    """``take`` for what comes from a partition; ``run`` for what has been put down."""

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
        """``groups``: partition -> the group that it belongs to."""
        self.groups = groups
        self._blocked_keys = blocked_keys
        self._recovery = FailureRecovery(handler, policies, observer)
        self._dead_letter = dead_letter
        self._policies = policies
        self._last_turn: dict[tuple[str, str], asyncio.Event] = {}
        self._wake_event = asyncio.Event()
        self._scan_times = list[float]()

    @asynccontextmanager
    async def wait_turn(self, group: str, key: str) -> AsyncIterator[None]:
        """One after the other within a key, first come, first served; ask before anything else is awaited."""
        before, over = self._last_turn.get((group, key)), asyncio.Event()
        self._last_turn[group, key] = over
        try:
            if before:
                await before.wait()
            yield
        finally:
            over.set()
            if self._last_turn.get((group, key)) is over:
                del self._last_turn[group, key]

    async def process_or_stay(self, group: str, envelope: Envelope) -> Exception | None:
        """As ``take``; where its place cannot be kept, for whatever reason, it stays in hand: later is too late."""
        try:
            return await self.process(group, envelope)
        except Unreachable:
            raise
        except Exception as error:
            log.exception("ordering check failed", queue=group, message_id=envelope.id)
            raise Unreachable(error_summary(error)) from error

    async def process(self, group: str, envelope: Envelope) -> Exception | None:
        """Settled when this returns: handled, put down or parked; what the handler raised, if it did.

        Raises Unreachable where what we stand on is away: the message is as it was.
        """
        place = await self._blocked_keys.read_status(group, envelope)
        if place.message_status is BlockStatus.WAITING:
            return None
        if place.last_status and not place.message_status:
            await self._block_behind(group, envelope, place.last_status)
            return None
        error = await self._recovery.try_handle(envelope)
        if error:
            await self._handle_failure(group, envelope, error)
        elif place.message_status:
            await self._blocked_keys.unblock(group, envelope)
            self._schedule_scan(0.0)
        return error

    async def run(self) -> None:
        """Try again what is due, and what waits behind it."""
        while True:
            keys = await self._blocked_keys.list_due_keys(MAX_CONCURRENT_KEYS)
            if not any(await asyncio.gather(*(self._resume_key(group, key) for group, key in keys))):
                await self._wait_for_next_scan()

    async def _block_behind(self, group: str, envelope: Envelope, last: BlockStatus) -> None:
        if last is BlockStatus.PARKED and self._on_poison(envelope) is OnPoison.PARK:
            return await self._park_behind(group, envelope)
        return await self._block(group, envelope, 0.0, "behind another")

    async def _resume_key(self, group: str, key: str) -> bool:
        """Whether anything was tried."""
        tried = False
        async with self._blocked_keys.try_lock(group, key) as alone:
            while alone and (first := await self._blocked_keys.find_next_due(group, key)):
                tried = True
                error = await self._recovery.try_handle(first)
                if error is None:
                    await self._blocked_keys.unblock(group, first)
                elif await self._handle_failure(group, first, error):
                    break
        return tried

    async def _handle_failure(self, group: str, envelope: Envelope, error: Exception) -> bool:
        """Return whether the key stays blocked."""

        async def retry(next_attempt: Envelope, delay_s: float) -> bool:
            await self._block(group, next_attempt, delay_s, error_summary(error))
            return True

        async def dead_letter(cause: str, error: Exception) -> bool:
            return await self._park(group, envelope, cause, error)

        return await self._recovery.recover(envelope, error, retry=retry, dead_letter=dead_letter)

    async def _park(self, group: str, envelope: Envelope, cause: str, error: Exception) -> bool:
        await self._dead_letter(group, envelope, cause, error)
        rule = self._on_poison(envelope)
        log.warning(
            "poison policy applied",
            queue=group,
            key=envelope.conversation_id,
            message_id=envelope.id,
            on_poison=str(rule),
        )
        if rule is OnPoison.CONTINUE:
            await self._blocked_keys.unblock(group, envelope)
            return False
        await self._blocked_keys.block(group, envelope, BlockStatus.PARKED, delay_s=0.0, error=error_summary(error))
        for follower in (
            await self._blocked_keys.list_waiting(group, envelope.conversation_id) if rule is OnPoison.PARK else ()
        ):
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
        """Until something that was put down here is due, or may be due that was put down elsewhere."""
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
