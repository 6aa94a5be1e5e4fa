"""Stub of pricing, assembled like every service, whose handler inserts one row and replies."""

import asyncio
import os

from sqlalchemy import text

from prebook.contracts.events import BookingEnded
from prebook.contracts.pricing import FareQuoted, QuoteFare
from prebook.contracts.ride import Money
from prebook.flows import BOOKING_ENDED, PRICING, QUOTE_FARE
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.postgres.unit_of_work import SqlUnitOfWork
from prebook.runtime.serve import main
from prebook.runtime.service import Service

DELAY_VARIABLE = "BENCH_HANDLER_DELAY_S"
"""Environment variable with the seconds that the handler waits before its transaction."""
SCHEMA = """
    CREATE TABLE pricing.effect (message_id text PRIMARY KEY, distance int NOT NULL);
    GRANT INSERT ON pricing.effect TO prebook_pricing"""
INSERT_EFFECT = text("INSERT INTO effect (message_id, distance) VALUES (:id, :distance)")


class StubServiceWork(SqlUnitOfWork):
    """Unit of work with the stub's table."""

    async def insert_effect(self, message_id: str, distance: int) -> None:
        """Insert the effect of a message."""
        await self._execute(INSERT_EFFECT, id=message_id, distance=distance)


async def quote_fare(context: HandlerContext, ride: QuoteFare, work: StubServiceWork) -> HandlerResult:
    """Insert one row and return a constant fare."""
    await work.insert_effect(context.message_id, ride.passengers)
    return HandlerResult(FareQuoted(fare=Money(cents=4200), discount=Money(cents=0), valid_until=context.now))


async def delay_request(_: HandlerContext, ride: QuoteFare) -> QuoteFare:
    """Wait before the transaction, as a handler that calls another system: slow without CPU time."""
    await asyncio.sleep(HANDLER_DELAY_S)
    return ride


async def ignore_event(_: HandlerContext, __: BookingEnded, ___: StubServiceWork) -> HandlerResult:
    """Handle the end of a booking without an effect; no benchmark ends one."""
    return HandlerResult()


HANDLER_DELAY_S = float(os.environ.get(DELAY_VARIABLE, "0"))
QUOTE_FARE_SPEC = HandlerSpec(quote_fare, pre_transaction=delay_request if HANDLER_DELAY_S else None)
HANDLERS: Handlers[StubServiceWork] = Handlers(
    on_request={QUOTE_FARE: QUOTE_FARE_SPEC}, on_event={BOOKING_ENDED: HandlerSpec(ignore_event)}
)
SERVICE = Service(name=PRICING, handlers=lambda _: HANDLERS, unit_of_work=StubServiceWork)

if __name__ == "__main__":
    main(SERVICE)
