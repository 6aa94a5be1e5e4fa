"""Runner of the replays: sends the messages that are due, looks them up in the receivers' inboxes, ends the replays.

The whole state of a replay is in the database. After a crash the lease runs out, and another process continues from the
rows: a redelivery that was in flight is looked up in its receiver's inbox first and sent again if it is not there. A
second copy of a message that is still on its way has no second effect.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from prebook.contracts.replays import RedeliveryState, ReplayState
from prebook.coupling.ports import Publisher
from prebook.messaging.errors import Unreachable, error_summary
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.operations.replays.redelivery import (
    FOREIGN_TARGET,
    DeliveryOutcome,
    Redelivery,
    TargetsByQueue,
    redelivery_message,
    redelivery_target,
)
from prebook.operations.replays.store import LeasedReplay, ReplayWork
from prebook.operations.replays.throttle import ReplayProgress, due_count
from prebook.replay.ports import InboxLookup

LEASE_S = 10.0
MAX_CONCURRENT_LOOKUPS = 16
"""Inbox lookups of one replay at a time."""
IDLE_INTERVAL_S = 0.5
MIN_PAUSE_S = 0.05
MAX_PAUSE_S = 1.0
PAUSE_GROWTH = 1.5
CONFIRMATION_TIMEOUT_S = 900.0
"""Longer than the retry ladder, and long enough to bring a receiver back."""
log = structlog.get_logger()


@dataclass(frozen=True)
class ReplayPorts:
    """Adapters of the runner."""

    publisher: Publisher
    look_up_inbox: InboxLookup
    targets: TargetsByQueue


class ReplayRunner:
    """Advances the replays that no other process has leased. ``leased_by`` names this process."""

    def __init__(self, begin: BeginUnitOfWork[ReplayWork], ports: ReplayPorts, leased_by: str) -> None:
        self._begin = begin
        self._ports = ports
        self._leased_by = leased_by

    async def run(self) -> None:
        """Advance replays until cancelled; the pause grows while nothing moves."""
        pause = IDLE_INTERVAL_S
        while True:
            moved = await self.run_once()
            if moved is None:
                pause = IDLE_INTERVAL_S
            else:
                pause = MIN_PAUSE_S if moved else min(MAX_PAUSE_S, pause * PAUSE_GROWTH)
            await asyncio.sleep(pause)

    async def run_once(self) -> int | None:
        """Return how many redeliveries were sent or settled and replays ended; None if no replay is running."""
        async with self._begin() as work:
            leased = await work.claim_replays(self._leased_by, LEASE_S)
        moved = await asyncio.gather(*(self._advance(replay) for replay in leased))
        return sum(moved) if moved else None

    async def _advance(self, replay: LeasedReplay) -> int:
        redeliveries = await self._dispatch(replay)
        lookups = asyncio.Semaphore(MAX_CONCURRENT_LOOKUPS)
        results = await asyncio.gather(*(self._settle_or_send(redelivery, lookups) for redelivery in redeliveries))
        outcomes = [result for result in results if isinstance(result, DeliveryOutcome)]
        sent_ids = [result for result in results if isinstance(result, int)]
        async with self._begin() as work:
            await work.mark_sent(replay.id, sent_ids)
            await work.settle(replay.id, outcomes)
            await work.mark_unconfirmed(replay.id, CONFIRMATION_TIMEOUT_S)
            await work.block_successors(replay.id)
        return len(outcomes) + len(sent_ids) + await self._end_if_done(replay)

    async def _dispatch(self, replay: LeasedReplay) -> Sequence[Redelivery]:
        """Dispatch the redeliveries that are due, and return all that are in flight."""
        progress = ReplayProgress(replay.batches, replay.in_flight, replay.sent, replay.running_s)
        async with self._begin() as work:
            if replay.state is ReplayState.RUNNING and (size := due_count(progress, replay.rate_per_s)):
                await work.dispatch_next(replay.id, size)
            return await work.list_in_flight(replay.id)

    async def _end_if_done(self, replay: LeasedReplay) -> int:
        """Return 1 if the replay has ended or stopped sending, otherwise 0."""
        async with self._begin() as work:
            if replay.same_cause_failures and not replay.keep_going and replay.state is ReplayState.RUNNING:
                reason = "messages failed again for the same cause; inspect those that failed again"
                await work.stop_replay(replay.id, ReplayState.STOPPED, reason)
                return 1
            # The counts are from before this step, so the end is found one step late, without another query.
            final_state = replay.final_state()
            if final_state is None:
                return 0
            await work.end_replay(replay.id, final_state)
        log.info("replay ended", replay_id=replay.id, state=final_state.value)
        return 1

    async def _settle_or_send(self, redelivery: Redelivery, lookups: asyncio.Semaphore) -> DeliveryOutcome | int | None:
        """Return the outcome, or the dead letter's id if the message was sent now, or None if nothing is known yet."""
        async with lookups:
            try:
                service = redelivery.queue.partition(".")[0]
                if received_at := await self._ports.look_up_inbox(service, redelivery.message_id):
                    return DeliveryOutcome(redelivery.dead_letter_id, RedeliveryState.RESOLVED, received_at)
                return None if redelivery.is_sent else await self._send(redelivery)
            except Unreachable as error:
                log.warning(
                    "replay waiting for receiver",
                    replay_id=redelivery.replay_id,
                    message_id=redelivery.message_id,
                    error=error_summary(error),
                )
                return None

    async def _send(self, redelivery: Redelivery) -> DeliveryOutcome | int:
        """Publish the message; return the dead letter's id, or the outcome if it can never be published.

        Raises Unreachable.
        """
        target = redelivery_target(redelivery.exchange, redelivery.routing_key, redelivery.queue, self._ports.targets)
        if target is None:
            return _refused(redelivery, FOREIGN_TARGET)
        try:
            await self._ports.publisher.publish(target.exchange, target.routing_key, redelivery_message(redelivery))
        except Unreachable:
            raise
        except Exception as error:  # noqa: BLE001 - a message that cannot even be encoded must not stop its replay
            return _refused(redelivery, error_summary(error))
        return redelivery.dead_letter_id


def _refused(redelivery: Redelivery, error: str) -> DeliveryOutcome:
    return DeliveryOutcome(redelivery.dead_letter_id, RedeliveryState.REFUSED, error=error)
