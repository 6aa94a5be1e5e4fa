"""Pricing's handlers."""

from datetime import timedelta

from prebook.contracts.events import BookingEnded
from prebook.contracts.pricing import FareQuoted, FareRefused, QuoteFare
from prebook.contracts.ride import Money
from prebook.messaging.handlers import Context, Handle, Outcome
from prebook.pricing.domain.campaign import discount_on
from prebook.pricing.domain.fare import LONGEST_RIDE_M, SHORTEST_RIDE_M, TooFar, TooShort, fare_of
from prebook.pricing.store import PricingWork

VALID_FOR = timedelta(minutes=15)


def quote_fare(quota: int) -> Handle[PricingWork]:
    """Quotes the fare, less the discount while the campaign's quota lasts."""

    async def handle(about: Context, ride: QuoteFare, work: PricingWork) -> Outcome:
        fare = fare_of(ride)
        if not isinstance(fare, int):
            return Outcome(_refused(fare))
        # Nothing may come between the grant and the commit: all quotes of the campaign meet on its row.
        discount = discount_on(fare) if await work.grant_discount(about.conversation, quota) else 0
        quoted = FareQuoted(
            fare=Money(cents=fare - discount), discount=Money(cents=discount), valid_until=about.now + VALID_FOR
        )
        return Outcome(quoted)

    return handle


async def booking_ended(about: Context, _: BookingEnded, work: PricingWork) -> Outcome:
    """No ride comes of it: its share of the discount goes back."""
    await work.return_discount(about.conversation)
    return Outcome()


def _refused(ride: TooShort | TooFar) -> FareRefused:
    match ride:
        case TooShort(metres):
            reason = f"{metres} m is less than the shortest ride of {SHORTEST_RIDE_M} m; choose a farther drop-off"
        case TooFar(metres):
            reason = f"{metres} m is more than the longest ride of {LONGEST_RIDE_M} m; choose a nearer drop-off"
    return FareRefused(reason=reason)
