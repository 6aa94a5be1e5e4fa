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

from prebook.messaging.channel import Unreachable
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import spelled
from prebook.messaging.observer import Watch
from prebook.messaging.policy import Policies
from prebook.messaging.recoverability.blocked_keys import Holds, Standing
from prebook.messaging.recoverability.decision import decide
from prebook.patterns.message_groups import OnPoison
from prebook.patterns.retry import Park

BEHIND = "behind_parked"
"""Cause of what is parked only because one before it is."""
LOOK_EVERY_S, AT_A_TIME = 1.0, 8
"""Another replica may have put something down and be gone."""
SOON_S = 0.05
"""One look for all that is put down behind others meanwhile."""
log = structlog.get_logger()

Door = Callable[[Envelope], Awaitable[object]]
Aside = Callable[[str, Envelope, str, Exception | None], Awaitable[None]]
"""Parks a message under its group's name: group, message, cause, error. Raises Unreachable."""


class Ordering:
    """``take`` for what comes from a partition; ``run`` for what has been put down."""

    def __init__(
        self, groups: Mapping[str, str], holds: Holds, door: Door, *, aside: Aside, policies: Policies, watch: Watch
    ) -> None:
        """``groups``: partition -> the group that it belongs to."""
        self.groups = groups
        self._holds, self._door, self._aside = holds, door, aside
        self._policies, self._watch = policies, watch
        self._last: dict[tuple[str, str], asyncio.Event] = {}
        self._woken, self._looks = asyncio.Event(), list[float]()

    @asynccontextmanager
    async def turn(self, group: str, key: str) -> AsyncIterator[None]:
        """One after the other within a key, first come, first served; ask before anything else is awaited."""
        before, over = self._last.get((group, key)), asyncio.Event()
        self._last[group, key] = over
        try:
            if before:
                await before.wait()
            yield
        finally:
            over.set()
            if self._last.get((group, key)) is over:
                del self._last[group, key]

    async def kept(self, group: str, envelope: Envelope) -> Exception | None:
        """As ``take``; where its place cannot be kept, for whatever reason, it stays in hand: later is too late."""
        try:
            return await self.take(group, envelope)
        except Unreachable:
            raise
        except Exception as error:
            log.exception("cannot keep order", group=group, message_id=envelope.id)
            raise Unreachable(spelled(error)) from error

    async def take(self, group: str, envelope: Envelope) -> Exception | None:
        """Settled when this returns: handled, put down or parked; what the handler raised, if it did.

        Raises Unreachable where what we stand on is away: the message is as it was.
        """
        place = await self._holds.place(group, envelope)
        if place.own is Standing.WAITING:
            return None
        if place.last and not place.own:
            await self._behind(group, envelope, place.last)
            return None
        error = await self._tried(envelope)
        if error:
            await self._failed(group, envelope, error)
        elif place.own:
            await self._holds.let_go(group, envelope)
            self._look_in(0.0)
        return error

    async def run(self) -> None:
        """Try again what is due, and what waits behind it."""
        while True:
            keys = await self._holds.due(AT_A_TIME)
            if not any(await asyncio.gather(*(self._resumed(group, key) for group, key in keys))):
                await self._pause()

    async def _behind(self, group: str, envelope: Envelope, last: Standing) -> None:
        if last is Standing.PARKED and self._on_poison(envelope) is OnPoison.PARK:
            return await self._parked_behind(group, envelope)
        return await self._put_down(group, envelope, 0.0, "behind another")

    async def _resumed(self, group: str, key: str) -> bool:
        """Whether anything was tried."""
        tried = False
        async with self._holds.alone(group, key) as alone:
            while alone and (first := await self._holds.first(group, key)):
                tried = True
                error = await self._tried(first)
                if error is None:
                    await self._holds.let_go(group, first)
                elif await self._failed(group, first, error):
                    break
        return tried

    async def _tried(self, envelope: Envelope) -> Exception | None:
        try:
            await self._door(envelope)
        except Unreachable:
            raise
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            return error
        return None

    async def _failed(self, group: str, envelope: Envelope, error: Exception) -> bool:
        """Whether its key is kept."""
        decision = decide(envelope, error, self._policies)
        if isinstance(decision, Park):
            return await self._parked(group, envelope, decision.cause, error)
        self._watch.retried(envelope, decision.pause_s)
        await self._put_down(group, envelope.again(), decision.pause_s, spelled(error))
        return True

    async def _parked(self, group: str, envelope: Envelope, cause: str, error: Exception) -> bool:
        await self._aside(group, envelope, cause, error)
        rule = self._on_poison(envelope)
        log.warning("parked", group=group, key=envelope.conversation, message_id=envelope.id, on_poison=str(rule))
        if rule is OnPoison.GO_ON:
            await self._holds.let_go(group, envelope)
            return False
        await self._holds.put_down(group, envelope, Standing.PARKED, pause_s=0.0, why=spelled(error))
        for follower in await self._holds.waiting(group, envelope.conversation) if rule is OnPoison.PARK else ():
            await self._parked_behind(group, follower)
        return True

    async def _parked_behind(self, group: str, envelope: Envelope) -> None:
        await self._aside(group, envelope, BEHIND, None)
        await self._holds.put_down(group, envelope, Standing.PARKED, pause_s=0.0, why=BEHIND)

    async def _put_down(self, group: str, envelope: Envelope, pause_s: float, why: str) -> None:
        await self._holds.put_down(group, envelope, Standing.WAITING, pause_s=pause_s, why=why)
        self._look_in(pause_s)

    def _on_poison(self, envelope: Envelope) -> OnPoison:
        policy = self._policies.get(envelope.flow)
        return policy.on_poison if policy else OnPoison.GO_ON

    def _look_in(self, seconds: float) -> None:
        heappush(self._looks, time.monotonic() + max(seconds, SOON_S))
        self._woken.set()

    async def _pause(self) -> None:
        """Until something that was put down here is due, or may be due that was put down elsewhere."""
        latest = time.monotonic() + LOOK_EVERY_S
        while (left_s := min((*self._looks[:1], latest)) - time.monotonic()) > 0:
            self._woken.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._woken.wait()
            except TimeoutError:
                break
        while self._looks and self._looks[0] <= time.monotonic():
            heappop(self._looks)
