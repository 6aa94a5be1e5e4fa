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

from prebook.coupling.channels import Transports, build_channels
from prebook.coupling.inbound import InboundGateway
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.http.app import create_app
from prebook.http.client import ServiceClient
from prebook.http.inbound import inbound_routes
from prebook.messaging.clock import WALL_CLOCK
from prebook.messaging.deadlines import Deadlines, ReplyPoller
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.errors import error_summary
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.policy import Policies
from prebook.messaging.throttle import throttled
from prebook.postgres.engine import create_engines
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.purge import Purger
from prebook.postgres.relay_notifier import RelayNotifier
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.rabbit.consumed_queues import prefetch_by_queue
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import logging
from prebook.runtime.environment import BadSettings
from prebook.runtime.garbage_collection import freeze_long_lived_objects
from prebook.runtime.gauges import ProcessGauges, provider_circuit_states
from prebook.runtime.loops import cancel_and_wait, run_every, run_forever
from prebook.runtime.partitioned_queues import PartitionedQueues
from prebook.runtime.retention import common_purges
from prebook.runtime.service import OutboundPorts, Service, ServiceContext, ServiceExtensions
from prebook.runtime.settings import ServiceSettings, read_settings
from prebook.runtime.telemetry import Metrics, Telemetry

W = TypeVar("W", bound=SqlUnitOfWork)
log = structlog.get_logger()

SHUTDOWN_TIMEOUT_S = 10
PURGE_INTERVAL_S, RELEASE_INTERVAL_S, LOOP_LAG_INTERVAL_S = 10.0, 2.0, 0.5


class ServiceProcess(Generic[W]):
    """One service, assembled."""

    def __init__(self, service: Service[W], settings: ServiceSettings, policies: Policies) -> None:
        name = service.name
        self.service, self.settings, self.metrics = service, settings, Metrics()
        watch, waiters, handlers = Telemetry(self.metrics), ReplyWaiters(), service.handlers(settings)
        self.engines = engines = create_engines(name, settings.database_url)
        self.http = ServiceClient(
            settings.urls, before_request=lambda to: self.metrics.http_client_requests.labels(to).inc()
        )
        self.publisher = RabbitPublisher(settings.amqp_url, name)
        routes = build_channels(Transports(self.http, self.publisher, policies, waiters, settings.callback_secrets))
        owner = f"prebook-{name} relay {uuid4().hex[:12]}"
        self.outbox = SqlOutbox(engines.background, owner)
        self.relay = Relay(self.outbox, lambda row: way_in.dispatch(row), watch)  # noqa: PLW0108 - it comes into being below
        self.wakeup = RelayNotifier(name, settings.database_url, owner, self.relay)
        begin, at_edge, aside = (
            unit_of_work_factory(engine, service.unit_of_work, self.wakeup.hand_off) for engine in engines
        )
        endpoint = Endpoint(name, handlers, begin, routes, policies, observer=watch, begin_command=at_edge)
        way_in = InboundGateway(endpoint, waiters)
        self.deadlines, self.poller = Deadlines(self.outbox, endpoint), ReplyPoller(self.outbox, endpoint, routes)
        self.partitioned_queues = PartitionedQueues(
            name, engines.messaging, throttled(way_in.receive, policies), self.publisher, policies
        )
        order = self.partitioned_queues.create_sequencer(watch)
        self.consumer = RabbitConsumer(
            settings.amqp_url,
            name,
            prefetch_by_queue(name, policies),
            throttled(way_in.receive, policies),
            publisher=self.publisher,
            policies=policies,
            observer=watch,
            sequencer=order,
        )
        self.partition_loops = self.partitioned_queues.loops(order, self.consumer, owner)
        forgets = (*common_purges(settings.outbox_dedup_s), *self.partitioned_queues.purges, *service.purges)
        self.purger = Purger(engines.background, forgets)
        self.gauges = ProcessGauges(
            self.metrics,
            self.outbox,
            engines.messaging,
            self.consumer.consumer_circuits,
            provider_circuit_states(name, routes),
        )
        running = ServiceContext(endpoint, begin, settings, policies, aside)
        edge = replace(running, begin=at_edge)
        outside = OutboundPorts(self.publisher, self.http, lambda: self.publisher.blocked_s)
        self.extensions = service.extensions(running, outside) if service.extensions else ServiceExtensions()
        self.app = create_app(
            name,
            [*service.routes(edge), *inbound_routes(name, way_in, policies, settings.callback_secrets)],
            missing_dependencies=self.missing_dependencies,
            refresh_gauges=self._refresh_gauges,
            lifespan=self._lifespan,
        )

    async def missing_dependencies(self) -> Mapping[str, str]:
        ups = {"broker (publishing)": self.publisher.connection.up, "broker (consuming)": self.consumer.connection.up}
        ups |= {part: link.up for part, link in self.extensions.connections.items()}
        lacks = {part: "no connection yet, or lost" for part, up in ups.items() if not up.is_set()}
        try:
            await self.engines.check()
        except Exception as error:  # noqa: BLE001 - whatever it is, that is what is missing
            lacks["database"] = error_summary(error)
        return lacks

    async def _refresh_gauges(self) -> None:
        await self.partitioned_queues.refresh_gauges(self.metrics)
        for read in (self.gauges.refresh, *self.extensions.gauge_refreshers):
            await read()

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncIterator[None]:
        loops = {
            "publisher": self.publisher.connection.run,
            "consumer": self.consumer.connection.run,
            "wakeup": self.wakeup.run,
            "relay": self.relay.run,
            "lease_release": lambda: run_every(RELEASE_INTERVAL_S, self.outbox.release_orphaned),
            "deadlines": self.deadlines.run,
            "poller": self.poller.run,
            "purge": lambda: run_every(PURGE_INTERVAL_S, self.purger.purge_due),
            "loop_lag": self._measure_loop_lag,
            **self.partition_loops,
            **self.extensions.loops,
        }
        tasks = {name: asyncio.create_task(run_forever(name, run)) for name, run in loops.items()}
        freeze_long_lived_objects()
        try:
            yield
        finally:
            await self._stop(tasks)

    async def _stop(self, tasks: Mapping[str, asyncio.Task[None]]) -> None:
        """Take nothing more in, finish, hand over what was staged, then let go of broker and database."""
        await self.consumer.stop()
        for names in (
            (*self.extensions.loops, "deadlines", "poller", *self.partition_loops, "consumer"),
            ("relay", "lease_release", "purge", "loop_lag"),
            ("publisher", "wakeup"),  # before the relay's end, others would take its rows for a dead one's
        ):
            await cancel_and_wait([tasks[name] for name in names])
        await self.http.close()
        await self.engines.dispose()
        log.info("service stopped")

    async def _measure_loop_lag(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            before = clock()
            await asyncio.sleep(LOOP_LAG_INTERVAL_S)
            self.metrics.loop_lag_s.set(max(0.0, clock() - before - LOOP_LAG_INTERVAL_S))


def main(service: Service[Any]) -> NoReturn:
    """Entry of ``python -m prebook.<service>``. Exits with 2 where the settings are wrong, naming each one."""
    try:
        settings, policies = read_settings()
    except BadSettings as error:
        sys.stderr.write(f"{service.name} cannot start: wrong settings\n{error}\n")
        sys.exit(2)
    logging.configure(service.name, settings.log_level)
    WALL_CLOCK.skew_s = settings.clock_skew_s
    config = uvicorn.Config(
        ServiceProcess(service, settings, policies).app,
        host=settings.http_host,
        port=settings.http_port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        timeout_keep_alive=75,
        lifespan="on",
    )
    server = uvicorn.Server(config)
    # uvicorn stops in order and then raises the signal again, which would end us by it: an orderly stop has status 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_cleanly)
    server.run()
    sys.exit(0 if server.started else 1)


def _exit_cleanly(*_: object) -> NoReturn:
    sys.exit(0)
