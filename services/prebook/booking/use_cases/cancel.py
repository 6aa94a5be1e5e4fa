"""A rider's change of mind."""

from prebook.booking import process
from prebook.booking.domain.booking import Booking
from prebook.booking.store import BookingWork
from prebook.contracts.booking import BookingState
from prebook.http.problems import Problem
from prebook.messaging.handlers import HandlerResult
from prebook.messaging.staging import MessageContext
from prebook.runtime.service import ServiceContext


class CancelBooking:
    def __init__(self, context: ServiceContext[BookingWork]) -> None:
        self._endpoint, self._begin = context.endpoint, context.begin

    async def cancel(self, booking_id: str, traceparent: str) -> Booking:
        """The booking, cancelled now or before. Raises Problem where there is none, or it is over otherwise."""
        booking, now = await self.find(booking_id), self._endpoint.clock()

        async def apply(work: BookingWork) -> HandlerResult:
            held = await work.lock(booking_id)
            if held is None or held.booking.state is BookingState.CANCELLED:
                return HandlerResult()
            if held.booking.is_over:
                raise Problem(409, "booking_over", f"it is {held.booking.state} already; there is nothing to cancel")
            step = process.cancel(held.booking, now)
            await work.save(step.booking)
            return HandlerResult(requests=step.requests, events=step.events)

        await self._endpoint.execute_command(MessageContext(booking.id, booking.plan, traceparent, now), apply)
        return await self.find(booking_id)

    async def find(self, booking_id: str) -> Booking:
        """Raises Problem where there is none."""
        async with self._begin() as work:
            booking = await work.find(booking_id)
        if booking is None:
            raise Problem(404, "no_such_booking", "look at the id in the Location of the response to POST /v1/bookings")
        return booking
