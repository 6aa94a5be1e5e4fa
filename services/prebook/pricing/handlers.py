"""Pricing's handlers."""

from datetime import timedelta

from prebook.contracts.facts import BookingEnded
from prebook.contracts.pricing import FareQuoted, FareRefused, QuoteFare
from prebook.contracts.ride import Money
from prebook.messaging.outcome import Context, Handle, Outcome
from prebook.pricing.domain.campaign import discount_on
from prebook.pricing.domain.fare import LONGEST_RIDE_M, SHORTEST_RIDE_M, TooFar, TooShort, fare_of
from prebook.pricing.store import PricingWork

VALID_FOR = timedelta(minutes=15)


def quote_fare(quota: int) -> Handle[PricingWork]:
    """Quotes the fare, less the discount while the campaign's quota lasts."""

    async def handle(about: Context, ride: QuoteFare, work: PricingWork) -> Outcome:
        match fare_of(ride):
            case TooShort(metres):
                return Outcome(FareRefused(reason=f"{metres} m is shorter than {SHORTEST_RIDE_M} m"))
            case TooFar(metres):
                return Outcome(FareRefused(reason=f"{metres} m is farther than {LONGEST_RIDE_M} m"))
            case int(cents):
                discount = discount_on(cents) if await work.grant_discount(about.conversation, quota) else 0
                fare, valid_until = Money(cents=cents - discount), about.now + VALID_FOR
                return Outcome(FareQuoted(fare=fare, discount=Money(cents=discount), valid_until=valid_until))

    return handle


async def booking_ended(about: Context, _: BookingEnded, work: PricingWork) -> Outcome:
    """No ride comes of it: its share of the discount goes back."""
    await work.return_discount(about.conversation)
    return Outcome()
