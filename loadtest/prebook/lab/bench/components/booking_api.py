"""Booking's API and use case on a database, without consumers, relay and deadline worker."""

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

from prebook.booking.app import SERVICE, admission
from prebook.booking.load_shedding.shedder import LoadShedder
from prebook.booking.sql.work import BookingSql
from prebook.booking.use_cases.book import BookRide
from prebook.booking.use_cases.response_times import ResponseTimes
from prebook.booking.use_cases.switches import Switches
from prebook.http.app import create_app
from prebook.http.client import ServiceClient
from prebook.lab.bench.components.http_endpoint import nothing_missing
from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.outbox.relay import LEASE_S, Relay
from prebook.messaging.policy import default_plan
from prebook.messaging.unit_of_work import OutboxMessage, UnitsOfWork
from prebook.postgres.engine import POOL_SIZE, create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import unit_of_work_factory
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import logging, settings
from prebook.runtime.assembly import AssembledService, ServicePorts, assemble
from prebook.runtime.telemetry import Telemetry


@dataclass(frozen=True)
class BookingAssembly:
    """Assembled booking service with the resources to close afterwards."""

    assembled: AssembledService[Any]
    engine: AsyncEngine
    http: ServiceClient

    def book_ride(self) -> BookRide:
        """Return the use case that accepts a booking, without its HTTP route."""
        context = self.assembled.context
        settings = context.settings
        shedder = LoadShedder(
            settings,
            context.policies,
            context.channels,
            context.broker_blocked_s,
            is_enabled=lambda: settings.back_pressure == "on",
        )
        switches = Switches(context.units, default_plan(context.policies))
        return BookRide(context, admission(context, shedder), ResponseTimes(), switches)

    @asynccontextmanager
    async def close_after(self) -> AsyncIterator[None]:
        """Close HTTP client and database pool when the block ends."""
        try:
            yield
        finally:
            await self.http.close()
            await self.engine.dispose()


def assemble_booking(env: Mapping[str, str], *, pool: int = POOL_SIZE) -> BookingAssembly:
    """Assemble booking. ``env``: environment of the service. ``pool``: number of database connections."""
    service_settings, policies = settings.read_settings(env)
    engine = create_engine("booking", service_settings.database_url, pool_size=pool)
    http = ServiceClient(service_settings.internal_urls)
    publisher = RabbitPublisher(service_settings.amqp_url, "bench")
    observer = Telemetry(CollectorRegistry())
    ports = ServicePorts(
        http=http,
        publisher=publisher,
        units=UnitsOfWork.of_one(unit_of_work_factory(engine, BookingSql, _hand_off_unclaimed)),
        relay=Relay(SqlOutbox(engine, "bench"), observer),
        pending_replies=SqlOutbox(engine, "bench"),
    )
    return BookingAssembly(assemble(SERVICE, service_settings, policies, ports, observer), engine, http)


def build_api(env: Mapping[str, str]) -> Litestar:
    """Return booking's HTTP application. ``env``: environment of the service."""
    service = assemble_booking(env)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with service.close_after():
            yield

    routes = service.assembled.extensions.routes
    return create_app("booking", routes, missing_dependencies=nothing_missing, lifespan=lifespan)


@contextmanager
def _hand_off_unclaimed(messages: Sequence[OutboxMessage]) -> Iterator[Handoff]:
    """Lease ``messages`` to a relay that never sends them, so that the insert costs what it costs in a service."""
    yield Handoff("bench", timedelta(seconds=LEASE_S), len(messages), {m.envelope.id: m for m in messages})


def main() -> None:
    """Serve booking's API on BENCH_PORT."""
    if len(sys.argv) > 1:
        sys.exit(
            "usage: python -m prebook.lab.bench.components.booking_api, with booking's environment and BENCH_PORT set"
        )
    logging.configure("booking", "info")
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(build_api(os.environ), port=port, loop="uvloop", http="httptools", access_log=False, log_config=None)


if __name__ == "__main__":
    main()
