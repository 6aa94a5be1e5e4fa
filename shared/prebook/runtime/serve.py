"""A service as a process: everything is assembled here, started in order and stopped in the opposite one."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Generic, NoReturn, TypeVar
from uuid import uuid4

import structlog
import uvicorn
from litestar import Litestar

from prebook.coupling.channels import Transports, channels
from prebook.coupling.inbound import Doors
from prebook.coupling.reply_waiters import Waiters
from prebook.http.app import application
from prebook.http.client import HttpCaller
from prebook.http.inbound import doors
from prebook.messaging.clock import WALL
from prebook.messaging.deadlines import Deadlines, Poller
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.errors import spelled
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.policy import Policies
from prebook.messaging.throttle import paced
from prebook.postgres.engine import engines_for
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.purge import Purging
from prebook.postgres.relay_notifier import Wakeup
from prebook.postgres.unit_of_work import SqlWork, units_of_work
from prebook.rabbit.consumed_queues import queues_of
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import logging
from prebook.runtime.environment import BadSettings
from prebook.runtime.garbage_collection import spare_what_stays
from prebook.runtime.gauges import Gauges, circuits
from prebook.runtime.loops import ended, every, for_ever
from prebook.runtime.partitioned_queues import InOrder
from prebook.runtime.retention import common
from prebook.runtime.service import Beside, Outside, Running, Service
from prebook.runtime.settings import Settings, load
from prebook.runtime.telemetry import Metrics, Telemetry

W = TypeVar("W", bound=SqlWork)
log = structlog.get_logger()

SHUTDOWN_S = 10
PURGE_EVERY_S, RELEASE_EVERY_S, LAG_EVERY_S = 10.0, 2.0, 0.5


class Process(Generic[W]):
    """One service, assembled."""

    def __init__(self, service: Service[W], settings: Settings, policies: Policies) -> None:
        name = service.name
        self.service, self.settings, self.metrics = service, settings, Metrics()
        watch, waiters, handlers = Telemetry(self.metrics), Waiters(), service.handlers(settings)
        self.engines = engines = engines_for(name, settings.database_url)
        self.http = HttpCaller(settings.urls, calling=lambda to: self.metrics.http_calls.labels(to).inc())
        self.publisher = RabbitPublisher(settings.amqp_url, name)
        routes = channels(Transports(self.http, self.publisher, policies, waiters, settings.callback_secrets))
        owner = f"prebook-{name} relay {uuid4().hex[:12]}"
        self.outbox = SqlOutbox(engines.upkeep, owner)
        self.relay = Relay(self.outbox, lambda row: way_in.send(row), watch)  # noqa: PLW0108 - it comes into being below
        self.wakeup = Wakeup(name, settings.database_url, owner, self.relay)
        begin, at_edge, aside = (units_of_work(engine, service.work, self.wakeup.taking) for engine in engines)
        endpoint = Endpoint(name, handlers, begin, routes, policies, watch=watch, at_edge=at_edge)
        way_in = Doors(endpoint, waiters)
        self.deadlines, self.poller = Deadlines(self.outbox, endpoint), Poller(self.outbox, endpoint, routes)
        self.in_order = InOrder(name, engines.work, paced(way_in.message, policies), self.publisher, policies)
        order = self.in_order.ordering(watch)
        self.consumer = RabbitConsumer(
            settings.amqp_url,
            name,
            queues_of(name, policies),
            paced(way_in.message, policies),
            publisher=self.publisher,
            policies=policies,
            watch=watch,
            order=order,
        )
        self.grouping = self.in_order.loops(order, self.consumer, owner)
        forgets = (*common(settings.outbox_dedup_s), *self.in_order.purges, *service.purges)
        self.purging = Purging(engines.upkeep, forgets)
        self.gauges = Gauges(self.metrics, self.outbox, engines.work, self.consumer.gates, circuits(name, routes))
        running = Running(endpoint, begin, settings, policies, aside)
        edge = replace(running, begin=at_edge)
        outside = Outside(self.publisher, self.http, lambda: self.publisher.blocked_s)
        self.beside = service.beside(running, outside) if service.beside else Beside()
        self.app = application(
            name,
            [*service.routes(edge), *doors(name, way_in, policies, settings.callback_secrets)],
            missing=self.missing,
            scraped=self._scraped,
            lifespan=self._lifespan,
        )

    async def missing(self) -> Mapping[str, str]:
        ups = {"broker (publishing)": self.publisher.link.up, "broker (consuming)": self.consumer.link.up}
        ups |= {part: link.up for part, link in self.beside.links.items()}
        lacks = {part: "no connection yet, or lost" for part, up in ups.items() if not up.is_set()}
        try:
            await self.engines.check()
        except Exception as error:  # noqa: BLE001 - whatever it is, that is what is missing
            lacks["database"] = spelled(error)
        return lacks

    async def _scraped(self) -> None:
        await self.in_order.read(self.metrics)
        for read in (self.gauges.read, *self.beside.gauges):
            await read()

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncIterator[None]:
        loops = {
            "publisher": self.publisher.link.run,
            "consumer": self.consumer.link.run,
            "wakeup": self.wakeup.run,
            "relay": self.relay.run,
            "release": lambda: every(RELEASE_EVERY_S, self.outbox.release),
            "deadlines": self.deadlines.run,
            "poller": self.poller.run,
            "purge": lambda: every(PURGE_EVERY_S, self.purging.turn),
            "lag": self._watch_loop,
            **self.grouping,
            **self.beside.loops,
        }
        tasks = {name: asyncio.create_task(for_ever(name, run)) for name, run in loops.items()}
        spare_what_stays()
        try:
            yield
        finally:
            await self._stop(tasks)

    async def _stop(self, tasks: Mapping[str, asyncio.Task[None]]) -> None:
        """Take nothing more in, finish, hand over what was staged, then let go of broker and database."""
        await self.consumer.stop()
        for names in (
            (*self.beside.loops, "deadlines", "poller", *self.grouping, "consumer"),
            ("relay", "release", "purge", "lag"),
            ("publisher", "wakeup"),  # before the relay's end, others would take its rows for a dead one's
        ):
            await ended([tasks[name] for name in names])
        await self.http.close()
        await self.engines.dispose()
        log.info("stopped")

    async def _watch_loop(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            before = clock()
            await asyncio.sleep(LAG_EVERY_S)
            self.metrics.loop_lag_s.set(max(0.0, clock() - before - LAG_EVERY_S))


def main(service: Service[Any]) -> NoReturn:
    """Entry of ``python -m prebook.<service>``. Exits with 2 where the settings are wrong, naming each one."""
    try:
        settings, policies = load()
    except BadSettings as error:
        sys.stderr.write(f"{service.name} cannot start: wrong settings\n{error}\n")
        sys.exit(2)
    logging.configure(service.name, settings.log_level)
    WALL.skew_s = settings.clock_skew_s
    config = uvicorn.Config(
        Process(service, settings, policies).app,
        host=settings.http_host,
        port=settings.http_port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
        timeout_keep_alive=75,
        lifespan="on",
    )
    server = uvicorn.Server(config)
    # uvicorn stops in order and then raises the signal again, which would end us by it: an orderly stop has status 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopped)
    server.run()
    sys.exit(0 if server.started else 1)


def _stopped(*_: object) -> NoReturn:
    sys.exit(0)
