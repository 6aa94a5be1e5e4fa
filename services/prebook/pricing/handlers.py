"""Pricing's handlers."""

from datetime import timedelta

from prebook.contracts.events import BookingEnded
from prebook.contracts.pricing import FareQuoted, FareRefused, QuoteFare
from prebook.contracts.ride import Money
from prebook.messaging.handlers import HandlerContext, HandlerFunction, HandlerResult
from prebook.pricing.domain.campaign import discount_cents
from prebook.pricing.domain.fare import MAX_RIDE_M, MIN_RIDE_M, TooFar, TooShort, fare_of
from prebook.pricing.store import PricingWork

QUOTE_VALIDITY = timedelta(minutes=15)


def quote_fare(quota: int) -> HandlerFunction[PricingWork]:
    """Handler that quotes the fare, less the discount while the campaign's quota lasts."""

    async def handle(context: HandlerContext, ride: QuoteFare, work: PricingWork) -> HandlerResult:
        fare = fare_of(ride)
        if not isinstance(fare, int):
            return HandlerResult(_refusal(fare))
        # The grant must be the last statement before the commit: all quotes of the campaign contend for its row.
        discount = discount_cents(fare) if await work.grant_discount(context.conversation_id, quota) else 0
        quoted = FareQuoted(
            fare=Money(cents=fare - discount),
            discount=Money(cents=discount),
            valid_until=context.now + QUOTE_VALIDITY,
            enrichment=ride.enrichment,
        )
        return HandlerResult(quoted)

    return handle


async def handle_booking_ended(context: HandlerContext, _: BookingEnded, work: PricingWork) -> HandlerResult:
    """Return the booking's discount to the campaign."""
    await work.return_discount(context.conversation_id)
    return HandlerResult()


def _refusal(ride: TooShort | TooFar) -> FareRefused:
    match ride:
        case TooShort(metres):
            reason = f"{metres} m is less than the shortest ride of {MIN_RIDE_M} m; choose a farther drop-off"
        case TooFar(metres):
            reason = f"{metres} m is more than the longest ride of {MAX_RIDE_M} m; choose a nearer drop-off"
    return FareRefused(reason=reason)
