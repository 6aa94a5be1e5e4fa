"""A rider's change of mind."""

from prebook.booking import process
from prebook.booking.domain.booking import Booking
from prebook.booking.store import BookingWork
from prebook.contracts.booking import State
from prebook.http.problems import Problem
from prebook.messaging.handlers import Outcome
from prebook.messaging.staging import Thread
from prebook.runtime.service import Running


class Cancelling:
    def __init__(self, running: Running[BookingWork]) -> None:
        self._endpoint, self._begin = running.endpoint, running.begin

    async def cancel(self, booking_id: str, traceparent: str) -> Booking:
        """The booking, cancelled now or before. Raises Problem where there is none, or it is over otherwise."""
        booking, now = await self.find(booking_id), self._endpoint.clock()

        async def cancel_it(work: BookingWork) -> Outcome:
            held = await work.hold(booking_id)
            if held is None or held.booking.state is State.CANCELLED:
                return Outcome()
            if held.booking.is_over:
                raise Problem(409, "booking_over", f"it is {held.booking.state} already; there is nothing to cancel")
            step = process.cancelled(held.booking, now)
            await work.save(step.booking)
            return Outcome(asks=step.asks, facts=step.facts)

        await self._endpoint.act(Thread(booking.id, booking.plan, traceparent, now), cancel_it)
        return await self.find(booking_id)

    async def find(self, booking_id: str) -> Booking:
        """Raises Problem where there is none."""
        async with self._begin() as work:
            booking = await work.find(booking_id)
        if booking is None:
            raise Problem(404, "no_such_booking", "look at the id in the Location of the response to POST /v1/bookings")
        return booking
