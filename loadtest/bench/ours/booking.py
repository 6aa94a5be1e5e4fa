"""Booking without consumers, relay and deadlines: what takes a ride in, on a database, and the wake-up of relays."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from litestar import Litestar
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from loadtest.bench.ours.door import no_gauges, nothing_missing
from prebook.booking.api import routes
from prebook.booking.app import handlers
from prebook.booking.sql import BookingSql
from prebook.coupling.routes import Transports, channels
from prebook.coupling.waiters import Waiters
from prebook.http.app import application
from prebook.http.client import HttpCaller
from prebook.messaging.endpoint import Endpoint
from prebook.postgres.engine import POOL, engine_for
from prebook.postgres.wakeup import Wakeup
from prebook.postgres.work import units_of_work
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import logging, settings
from prebook.runtime.service import Running
from prebook.runtime.telemetry import Metrics, Telemetry


@dataclass(frozen=True)
class Booking:
    running: Running[Any]
    engine: AsyncEngine
    http: HttpCaller
    wakeup: Wakeup

    @asynccontextmanager
    async def awake(self) -> AsyncIterator[None]:
        waking = asyncio.create_task(self.wakeup.run())
        try:
            yield
        finally:
            waking.cancel()
            await asyncio.gather(waking, return_exceptions=True)
            await self.http.close()
            await self.engine.dispose()


def booking(env: Mapping[str, str], *, pool: int = POOL) -> Booking:
    """By the environment of the service."""
    given, policies = settings.load(env)
    engine, http = engine_for("booking", given.database_url, pool=pool), HttpCaller(given.urls)
    publisher = RabbitPublisher(given.amqp_url, "bench")
    ways = channels(Transports(http, publisher, policies, Waiters(), given.callback_secrets))
    wakeup, begin = Wakeup("booking", given.database_url, "bench", _no_relay), units_of_work(engine, BookingSql)
    watch = Telemetry(Metrics(CollectorRegistry()))
    endpoint = Endpoint("booking", handlers(given), begin, ways, policies, wake=wakeup.wake, watch=watch)
    return Booking(Running(endpoint, begin, given, policies), engine, http, wakeup)


def edge(env: Mapping[str, str]) -> Litestar:
    service = booking(env)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with service.awake():
            yield

    own = routes(service.running)
    return application("booking", own, missing=nothing_missing, scraped=no_gauges, lifespan=lifespan)


def _no_relay() -> None: ...


def main() -> None:
    if len(sys.argv) > 1:
        sys.exit("usage: python -m loadtest.bench.ours.booking, with booking's environment and BENCH_PORT set")
    logging.configure("booking", "info")
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(edge(os.environ), port=port, loop="uvloop", http="httptools", access_log=False, log_config=None)


if __name__ == "__main__":
    main()
