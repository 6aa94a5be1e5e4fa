"""Moves replays on: sends what is due, asks the receivers' inboxes, and ends what is over.

All of a replay is in its rows. A process that is killed leaves a lease that runs out; whoever comes next goes on from
the rows. What was marked as in flight and perhaps sent is looked for at its receiver first, and sent again where it
is not there: a copy on the way has no second effect.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from prebook.contracts.replays import ItemState, ReplayState
from prebook.coupling.ports import Publisher
from prebook.messaging.channel import Undeliverable, Unreachable
from prebook.messaging.errors import spelled
from prebook.messaging.unit_of_work import Begin
from prebook.operations.replays.eligibility import ending
from prebook.operations.replays.redelivery import Address, Allowed, outgoing, way_back
from prebook.operations.replays.throttle import Progress, due
from prebook.operations.store import Claimed, Flight, Landing, OperationsWork

LEASE_S = 10.0
AT_ONCE = 16
"""Messages of a replay whose receivers are asked at a time."""
IDLE_S, FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 0.05, 1.0
UNCONFIRMED_AFTER_S = 900.0
"""Longer than any retry, and long enough to bring a receiver back."""
log = structlog.get_logger()

Admitted = Callable[[str, str], Awaitable[datetime | None]]
"""(service, message id) -> when its inbox admitted it; None: it has not. Raises Unreachable."""


@dataclass(frozen=True)
class Ways:
    publisher: Publisher
    admitted: Admitted
    allowed: Allowed


class Replaying:
    def __init__(self, begin: Begin[OperationsWork], ways: Ways, holder: str) -> None:
        self._begin, self._ways, self._holder = begin, ways, holder

    async def run(self) -> None:
        pause = IDLE_S
        while True:
            moved = await self.step()
            pause = IDLE_S if moved is None else FIRST_PAUSE_S if moved else min(LONGEST_PAUSE_S, pause * 1.5)
            await asyncio.sleep(pause)

    async def step(self) -> int | None:
        """How many messages were sent or settled; None where no replay is under way."""
        async with self._begin() as work:
            claimed = await work.claim(self._holder, LEASE_S)
        moved = await asyncio.gather(*(self._advance(replay) for replay in claimed))
        return sum(moved) if moved else None

    async def _advance(self, replay: Claimed) -> int:
        flights, limit = await self._taken_off(replay), asyncio.Semaphore(AT_ONCE)
        looked = await asyncio.gather(*(self._look(flight, limit) for flight in flights))
        landings = [found for found in looked if isinstance(found, Landing)]
        sent = [found for found in looked if isinstance(found, int)]
        async with self._begin() as work:
            await work.sent(replay.id, sent)
            await work.land(replay.id, landings)
            await work.give_up_on(replay.id, UNCONFIRMED_AFTER_S)
            await work.hold(replay.id)
        return len(landings) + len(sent) + await self._ended(replay)

    async def _taken_off(self, replay: Claimed) -> Sequence[Flight]:
        """All that is in flight, with those that may leave now."""
        progress = Progress(replay.batches, replay.in_flight, replay.sent, replay.running_s)
        async with self._begin() as work:
            if replay.state is ReplayState.RUNNING and (size := due(progress, replay.rate_per_s)):
                await work.take_off(replay.id, size)
            return await work.in_flight(replay.id)

    async def _ended(self, replay: Claimed) -> int:
        """1 where it has ended, or will send nothing more."""
        async with self._begin() as work:
            if replay.same_cause and not replay.keep_going and replay.state is ReplayState.RUNNING:
                await work.stop(replay.id, ReplayState.STOPPED, "the same cause came back; look at what failed again")
                return 1
            # Counted before this step: an end is seen at the next one, which looks at nothing but that.
            over = ending(live=replay.requested + replay.in_flight, outcome=replay.outcome)
            if over is None:
                return 0
            await work.end(replay.id, over)
        log.info("replay ended", replay=replay.id, state=over.value)
        return 1

    async def _look(self, flight: Flight, limit: asyncio.Semaphore) -> Landing | int | None:
        """A landing, the id of what has been sent just now, or None where nothing is known yet."""
        async with limit:
            try:
                service = flight.queue.partition(".")[0]
                if admitted_at := await self._ways.admitted(service, flight.message_id):
                    return Landing(flight.parked_id, ItemState.RESOLVED, admitted_at)
                return None if flight.is_sent else await self._send(flight)
            except Unreachable as error:
                log.warning("replay waits", replay=flight.replay_id, message_id=flight.message_id, error=spelled(error))
                return None

    async def _send(self, flight: Flight) -> Landing | int:
        address = way_back(flight.exchange, flight.key, flight.queue, self._ways.allowed)
        wire = outgoing(
            flight.headers,
            flight.payload,
            replay_id=flight.replay_id,
            parked_id=flight.parked_id,
            origin=Address(flight.exchange, flight.key),
        )
        try:
            await self._ways.publisher.publish(address.exchange, address.key, wire)
        except Undeliverable as error:
            return Landing(flight.parked_id, ItemState.REFUSED, error=spelled(error))
        return flight.parked_id
