"""Booking without consumers, relay and deadlines: what takes a ride in, on a database, claimed for a relay."""

import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import uvicorn
from litestar import Litestar
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.booking.api import routes
from prebook.booking.app import handlers
from prebook.booking.sql.work import BookingSql
from prebook.coupling.channels import Transports, channels
from prebook.coupling.reply_waiters import Waiters
from prebook.http.app import application
from prebook.http.client import HttpCaller
from prebook.lab.bench.components.http_endpoint import no_gauges, nothing_missing
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.outbox.handoff import Handover
from prebook.messaging.outbox.relay import LEASE_S
from prebook.messaging.unit_of_work import Posting
from prebook.postgres.engine import POOL, engine_for
from prebook.postgres.unit_of_work import units_of_work
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import logging, settings
from prebook.runtime.service import Running
from prebook.runtime.telemetry import Metrics, Telemetry


@dataclass(frozen=True)
class Booking:
    running: Running[Any]
    engine: AsyncEngine
    http: HttpCaller

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self.http.close()
            await self.engine.dispose()


def booking(env: Mapping[str, str], *, pool: int = POOL) -> Booking:
    """By the environment of the service."""
    given, policies = settings.load(env)
    engine, http = engine_for("booking", given.database_url, pool=pool), HttpCaller(given.urls)
    publisher = RabbitPublisher(given.amqp_url, "bench")
    ways = channels(Transports(http, publisher, policies, Waiters(), given.callback_secrets))
    begin = units_of_work(engine, BookingSql, _claimed)
    endpoint = Endpoint(
        "booking", handlers(given), begin, ways, policies, watch=Telemetry(Metrics(CollectorRegistry()))
    )
    return Booking(Running(endpoint, begin, given, policies), engine, http)


def edge(env: Mapping[str, str]) -> Litestar:
    service = booking(env)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with service.opened():
            yield

    own = routes(service.running)
    return application("booking", own, missing=nothing_missing, scraped=no_gauges, lifespan=lifespan)


@contextmanager
def _claimed(postings: Sequence[Posting]) -> Iterator[Handover]:
    """As by a relay of this process, which then does nothing."""
    yield Handover("bench", timedelta(seconds=LEASE_S), len(postings), {p.envelope.id: p for p in postings})


def main() -> None:
    if len(sys.argv) > 1:
        sys.exit("usage: python -m loadtest.bench.ours.booking, with booking's environment and BENCH_PORT set")
    logging.configure("booking", "info")
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(edge(os.environ), port=port, loop="uvloop", http="httptools", access_log=False, log_config=None)


if __name__ == "__main__":
    main()
