"""Use case: a trip whose deadline has passed gets its outcome. Each replica scans for such trips."""

from dataclasses import dataclass

import structlog

from prebook.booking import trip_process
from prebook.booking.domain.trip import Trip
from prebook.booking.store import BookingWork
from prebook.booking.use_cases.trip_transition import lock_trip, save_transition
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.messaging.staging import MessageContext
from prebook.patterns.trace import TraceContext
from prebook.runtime.service import ServiceContext

DEADLINE_SCAN_INTERVAL_S = 1.0
MAX_OVERDUE = 100
"""Trips that one scan settles; more are settled by the next scan, which follows at once."""
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ExpireTrip:
    """Command: settle a trip whose deadline has passed."""

    trip_id: str


async def expire_trip(context: HandlerContext, command: ExpireTrip, work: BookingWork) -> HandlerResult:
    """Settle the trip with the outcomes it has, and cancel the legs that it does not keep.

    No effect if the trip has an outcome by now, or if its deadline has not passed on the store's clock.
    """
    locked = await lock_trip(command.trip_id, work)
    if locked.db_now < locked.due_at:
        return HandlerResult()
    return await save_transition(locked.trip, trip_process.expire(locked.trip, context.now), context, work)


class TripDeadlines:
    """Finds overdue trips and settles them, one transaction each."""

    def __init__(self, context: ServiceContext[BookingWork]) -> None:
        self._context = context

    async def settle_overdue(self) -> int:
        """Settle all overdue trips; return their number. A trip that fails is tried again by the next scan."""
        settled = 0
        while True:
            async with self._context.units.background() as work:
                overdue = await work.list_overdue_trips(MAX_OVERDUE)
            results = [await self._expire(trip) for trip in overdue]
            settled += sum(results)
            if len(overdue) < MAX_OVERDUE or not all(results):
                return settled

    async def _expire(self, trip: Trip) -> bool:
        log.warning("trip settled by its deadline", conversation_id=trip.id, missing=len(trip.legs.missing))
        context = MessageContext(trip.id, trip.plan, TraceContext().child(), self._context.clock())
        try:
            await self._context.gateway.execute(ExpireTrip(trip.id), context)
        except Exception:
            log.exception("overdue trip not settled", conversation_id=trip.id)  # it keeps no other from its deadline
            return False
        return True
