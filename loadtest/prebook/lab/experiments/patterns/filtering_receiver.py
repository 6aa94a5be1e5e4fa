"""Receiver process that filters messages itself: it takes all of them, and drops most."""

from prebook.contracts.events import BookingConfirmed
from prebook.lab.experiments import worker
from prebook.lab.experiments.patterns.receiver import TIMEOUT_S, PatternReceiver, ReceiverSpec, ReceiverWork
from prebook.messaging.handlers import HandlerContext, HandlerResult

DROPPED = "dropped"
"""Receiver of the effects of dropped messages."""
MIN_FARE_CENTS = 3_000
MIN_DISTANCE_M = 15_000


class FilteringReceiver(PatternReceiver):
    """Receiver that compares numbers of the body, which no broker reads."""

    async def _apply(self, context: HandlerContext, body: BookingConfirmed, work: ReceiverWork) -> HandlerResult:
        if is_extraordinary(body):
            return await super()._apply(context, body, work)
        await work.insert_effect(self._spec.run, DROPPED, context.conversation_id)
        return HandlerResult()


def is_extraordinary(ride: BookingConfirmed) -> bool:
    """Return whether the fare or the distance of a ride reaches its minimum."""
    return ride.fare.cents >= MIN_FARE_CENTS or ride.distance_m >= MIN_DISTANCE_M


def run(spec: ReceiverSpec) -> None:
    """Entry point of the process."""
    worker.run_worker(spec.service, spec, lambda context: FilteringReceiver(context, spec).run(), timeout_s=TIMEOUT_S)
