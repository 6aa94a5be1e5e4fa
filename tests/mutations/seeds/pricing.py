"""Defects of pricing."""

from typing import Any

import msgspec
from sqlalchemy import text

from prebook.contracts.pricing import FareQuoted
from prebook.messaging.handlers import HandlerResult
from prebook.pricing import handlers, sql
from prebook.pricing.sql import PricingSql
from tests.mutations.seeding import is_chosen, replace

SHARE = 0.1


def phantom_effect() -> None:
    """Grant a second discount to some bookings, under the id of a booking that does not exist."""

    def make(grant_discount: Any) -> Any:
        async def grant_twice(self: Any, booking_id: str, quota: int) -> Any:
            if is_chosen(booking_id, SHARE):
                await grant_discount(self, f"{booking_id}-phantom", quota)
            return await grant_discount(self, booking_id, quota)

        return grant_twice

    replace(PricingSql, "grant_discount", make)


def discount_kept_after_the_end() -> None:
    """Return no discount."""

    async def keep(_: Any, __: str) -> None:
        return None

    replace(PricingSql, "return_discount", lambda _: keep)


def campaign_counter_not_returned() -> None:
    """Return a discount and leave the campaign's counter as it is."""
    replace(sql, "RETURN_DISCOUNT", lambda _: text("SELECT CAST(:name AS text)"))


def fare_depends_on_the_coupling() -> None:
    """Charge more for a ride that is priced by a synchronous call."""

    def make(quote_fare: Any) -> Any:
        def raise_fares(quota: int) -> Any:
            quote = quote_fare(quota)

            async def handle(context: Any, ride: Any, work: Any) -> HandlerResult:
                result: HandlerResult = await quote(context, ride, work)
                if not isinstance(result.reply, FareQuoted) or context.plan["quote_fare"] != "sync_api":
                    return result
                fare = msgspec.structs.replace(result.reply.fare, cents=result.reply.fare.cents + 100)
                return HandlerResult(msgspec.structs.replace(result.reply, fare=fare))

            return handle

        return raise_fares

    replace(handlers, "quote_fare", make)
