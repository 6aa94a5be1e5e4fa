"""A service of the suite, assembled as all of them are, whose one handler has the least effect: one row of its own."""

import asyncio
import os

from sqlalchemy import text

from prebook.contracts.pricing import FareQuoted, QuoteFare
from prebook.contracts.ride import Money
from prebook.flows import QUOTE_FARE
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.postgres.unit_of_work import SqlUnitOfWork
from prebook.runtime.serve import main
from prebook.runtime.service import Service

DELAY_VARIABLE = "BENCH_HANDLER_DELAY_S"
SCHEMA = """
    CREATE TABLE pricing.effect (message_id text PRIMARY KEY, distance int NOT NULL);
    GRANT INSERT ON pricing.effect TO prebook_pricing"""
INSERT_EFFECT = text("INSERT INTO effect (message_id, distance) VALUES (:id, :distance)")


class StubServiceWork(SqlUnitOfWork):
    async def insert_effect(self, message_id: str, distance: int) -> None:
        await self._execute(INSERT_EFFECT, id=message_id, distance=distance)


async def quote_fare(context: HandlerContext, ride: QuoteFare, work: StubServiceWork) -> HandlerResult:
    await work.insert_effect(context.message_id, ride.passengers)
    return HandlerResult(FareQuoted(fare=Money(cents=4200), discount=Money(cents=0), valid_until=context.now))


async def delay_request(_: HandlerContext, ride: QuoteFare) -> QuoteFare:
    """As a handler that asks somebody else first: it is slow, and costs nothing."""
    await asyncio.sleep(HANDLER_DELAY_S)
    return ride


HANDLER_DELAY_S = float(os.environ.get(DELAY_VARIABLE, "0"))
QUOTE_FARE_SPEC = HandlerSpec(quote_fare, pre_transaction=delay_request if HANDLER_DELAY_S else None)
SERVICE = Service(
    name="pricing", handlers=lambda _: Handlers(on_request={QUOTE_FARE: QUOTE_FARE_SPEC}), unit_of_work=StubServiceWork
)

if __name__ == "__main__":
    main(SERVICE)
