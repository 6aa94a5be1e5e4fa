"""A service of the suite, assembled as all of them are, whose one handler has the least effect: one row of its own."""

import asyncio
import os

from sqlalchemy import text

from prebook.contracts.pricing import FareQuoted, QuoteFare
from prebook.contracts.ride import Money
from prebook.flows import QUOTE_FARE
from prebook.messaging.handlers import Context, Handlers, Outcome, Step
from prebook.postgres.unit_of_work import SqlWork
from prebook.runtime.serve import main
from prebook.runtime.service import Service

SLOW = "BENCH_SLOW_S"
SCHEMA = """
    CREATE TABLE pricing.effect (message_id text PRIMARY KEY, distance int NOT NULL);
    GRANT INSERT ON pricing.effect TO prebook_pricing"""
EFFECT = text("INSERT INTO effect (message_id, distance) VALUES (:id, :distance)")


class Taking(SqlWork):
    async def note(self, message_id: str, distance: int) -> None:
        await self._run(EFFECT, id=message_id, distance=distance)


async def quote(about: Context, ride: QuoteFare, work: Taking) -> Outcome:
    await work.note(about.message_id, ride.passengers)
    return Outcome(FareQuoted(fare=Money(cents=4200), discount=Money(cents=0), valid_until=about.now))


async def asked_outside(_: Context, ride: QuoteFare) -> QuoteFare:
    """As a handler that asks somebody else first: it is slow, and costs nothing."""
    await asyncio.sleep(SLOW_S)
    return ride


SLOW_S = float(os.environ.get(SLOW, "0"))
STEP = Step(quote, consult=asked_outside if SLOW_S else None)
SERVICE = Service(name="pricing", handlers=lambda _: Handlers(serves={QUOTE_FARE: STEP}), work=Taking)

if __name__ == "__main__":
    main(SERVICE)
