"""Moves replays on: sends what is due, asks the receivers' inboxes, and ends what is over.

All of a replay is in its rows. A process that is killed leaves a lease that runs out; whoever comes next goes on from
the rows. What was marked as in flight and perhaps sent is looked for at its receiver first, and sent again where it
is not there: a copy on the way has no second effect.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from prebook.contracts.replays import RedeliveryState, ReplayState
from prebook.coupling.ports import Publisher
from prebook.messaging.errors import Undeliverable, Unreachable, error_summary
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.operations.replays.eligibility import final_state
from prebook.operations.replays.redelivery import AllowedTargets, PublishTarget, redelivery_message, redelivery_target
from prebook.operations.replays.throttle import ReplayProgress, due_count
from prebook.operations.store import DeliveryOutcome, LeasedReplay, OperationsWork, Redelivery
from prebook.replay.ports import InboxLookup

LEASE_S = 10.0
MAX_CONCURRENT_LOOKUPS = 16
"""Messages of a replay whose receivers are asked at a time."""
IDLE_INTERVAL_S, MIN_PAUSE_S, MAX_PAUSE_S = 0.5, 0.05, 1.0
CONFIRMATION_TIMEOUT_S = 900.0
"""Longer than any retry, and long enough to bring a receiver back."""
log = structlog.get_logger()


@dataclass(frozen=True)
class ReplayPorts:
    publisher: Publisher
    look_up_inbox: InboxLookup
    allowed_targets: AllowedTargets


class ReplayRunner:
    def __init__(self, begin: BeginUnitOfWork[OperationsWork], ports: ReplayPorts, leased_by: str) -> None:
        self._begin, self._ports, self._leased_by = begin, ports, leased_by

    async def run(self) -> None:
        pause = IDLE_INTERVAL_S
        while True:
            moved = await self.run_once()
            pause = IDLE_INTERVAL_S if moved is None else MIN_PAUSE_S if moved else min(MAX_PAUSE_S, pause * 1.5)
            await asyncio.sleep(pause)

    async def run_once(self) -> int | None:
        """How many messages were sent or settled; None where no replay is under way."""
        async with self._begin() as work:
            claimed = await work.claim_replays(self._leased_by, LEASE_S)
        moved = await asyncio.gather(*(self._advance(replay) for replay in claimed))
        return sum(moved) if moved else None

    async def _advance(self, replay: LeasedReplay) -> int:
        flights, limit = await self._dispatch(replay), asyncio.Semaphore(MAX_CONCURRENT_LOOKUPS)
        looked = await asyncio.gather(*(self._settle_or_send(flight, limit) for flight in flights))
        landings = [found for found in looked if isinstance(found, DeliveryOutcome)]
        sent = [found for found in looked if isinstance(found, int)]
        async with self._begin() as work:
            await work.mark_sent(replay.id, sent)
            await work.settle(replay.id, landings)
            await work.mark_unconfirmed(replay.id, CONFIRMATION_TIMEOUT_S)
            await work.block_successors(replay.id)
        return len(landings) + len(sent) + await self._end_if_done(replay)

    async def _dispatch(self, replay: LeasedReplay) -> Sequence[Redelivery]:
        """All that is in flight, with those that may leave now."""
        progress = ReplayProgress(replay.batches, replay.in_flight, replay.sent, replay.running_s)
        async with self._begin() as work:
            if replay.state is ReplayState.RUNNING and (size := due_count(progress, replay.rate_per_s)):
                await work.dispatch_next(replay.id, size)
            return await work.list_in_flight(replay.id)

    async def _end_if_done(self, replay: LeasedReplay) -> int:
        """1 where it has ended, or will send nothing more."""
        async with self._begin() as work:
            if replay.same_cause_failures and not replay.keep_going and replay.state is ReplayState.RUNNING:
                await work.stop_replay(
                    replay.id, ReplayState.STOPPED, "the same cause came back; look at what failed again"
                )
                return 1
            # Counted before this step: an end is seen at the next one, which looks at nothing but that.
            over = final_state(live=replay.requested + replay.in_flight, outcome=replay.outcome)
            if over is None:
                return 0
            await work.end_replay(replay.id, over)
        log.info("replay ended", replay_id=replay.id, state=over.value)
        return 1

    async def _settle_or_send(self, redelivery: Redelivery, lookups: asyncio.Semaphore) -> DeliveryOutcome | int | None:
        """A landing, the id of what has been sent just now, or None where nothing is known yet."""
        async with lookups:
            try:
                service = redelivery.queue.partition(".")[0]
                if admitted_at := await self._ports.look_up_inbox(service, redelivery.message_id):
                    return DeliveryOutcome(redelivery.dead_letter_id, RedeliveryState.RESOLVED, admitted_at)
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
        address = redelivery_target(
            redelivery.exchange, redelivery.routing_key, redelivery.queue, self._ports.allowed_targets
        )
        wire = redelivery_message(
            redelivery.headers,
            redelivery.payload,
            replay_id=redelivery.replay_id,
            dead_letter_id=redelivery.dead_letter_id,
            origin=PublishTarget(redelivery.exchange, redelivery.routing_key),
        )
        try:
            await self._ports.publisher.publish(address.exchange, address.routing_key, wire)
        except Undeliverable as error:
            return DeliveryOutcome(redelivery.dead_letter_id, RedeliveryState.UNROUTABLE, error=error_summary(error))
        return redelivery.dead_letter_id
