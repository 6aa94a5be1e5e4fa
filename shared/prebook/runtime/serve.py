"""One service as a process: assembles all its parts, starts them in order and stops them in reverse order."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar
from uuid import uuid4

import structlog
import uvicorn
from litestar import Litestar

from prebook.coupling.history_publisher import HistoryPublisher
from prebook.coupling.ports import Publisher
from prebook.http.app import create_app, create_internal_app
from prebook.http.client import ServiceClient
from prebook.http.connections import Connections, HttpLimits, connection_limit
from prebook.http.listeners import ListenerApp, bind_listener
from prebook.http.peers import network_check
from prebook.http.server_protocol import serve_with
from prebook.messaging.clock import WALL_CLOCK
from prebook.messaging.errors import Unreachable, error_summary
from prebook.messaging.observer import ObserverGroup
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.policy import Policies, retry_delays_s
from prebook.messaging.recent_stages import RecentStages
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.postgres.claim_store import UnsentBodies
from prebook.postgres.conversation import SqlConversations
from prebook.postgres.engine import create_engines
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.purge import Purger
from prebook.postgres.relay_notifier import RelayNotifier
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import logging
from prebook.runtime.assembly import ServicePorts, assemble
from prebook.runtime.claim_lifetime import claim_lifetime_s
from prebook.runtime.crash_files import arm_crash_files
from prebook.runtime.crash_message import arm_crash_message
from prebook.runtime.environment import EXIT_BAD_SETTINGS, BadSettings
from prebook.runtime.garbage_collection import freeze_long_lived_objects
from prebook.runtime.gauges import ProcessGauges, ProcessMetrics, provider_circuit_states, refresh_all
from prebook.runtime.loops import cancel_and_wait, run_every, run_forever
from prebook.runtime.partitioned_queues import PartitionedQueues
from prebook.runtime.retention import common_purges
from prebook.runtime.secret_reload import RELOAD_INTERVAL_S, SecretReloader
from prebook.runtime.service import Service
from prebook.runtime.settings import ServiceSettings, read_settings
from prebook.runtime.telemetry import Telemetry
from prebook.topology.consumed_queues import prefetch_by_queue
from prebook.topology.model import suite_topology
from prebook.topology.sender_check import sender_check

if TYPE_CHECKING:
    from prebook.runtime.span_recorder import SpanRecorder

W = TypeVar("W", bound=SqlUnitOfWork)
log = structlog.get_logger()

SHUTDOWN_TIMEOUT_S = 10
TASKS_TIMEOUT_S = 2.0
"""Seconds that a stopping process waits for work whose callers are gone, and again after it has cancelled it."""
PURGE_INTERVAL_S = 10.0
RELEASE_INTERVAL_S = 2.0
LOOP_LAG_INTERVAL_S = 0.5
LISTENERS = 2
"""Ports on which a service may listen; each has its own limit of connections."""


class ServiceProcess(Generic[W]):
    """One service over RabbitMQ, PostgreSQL and HTTP, with its lifecycle."""

    def __init__(self, service: Service[W], settings: ServiceSettings, policies: Policies) -> None:
        name = service.name
        self.metrics = ProcessMetrics()
        self.secret_reloader = SecretReloader(settings)
        recent = RecentStages()
        self.span_recorder = _create_span_recorder(name, settings.otlp_url)
        recorders = [self.span_recorder] if self.span_recorder else []
        observer = ObserverGroup(Telemetry(), recent, *recorders)
        self.engines = create_engines(name, settings.database_url)
        self.conversations = SqlConversations(name, self.engines.edge, recent)
        self.http = ServiceClient(
            settings.internal_urls,
            before_request=lambda provider: self.metrics.http_client_requests.labels(provider).inc(),
        )
        self.publisher = RabbitPublisher(settings.amqp_url, name)
        outbound: Publisher = self.publisher
        if settings.message_history == "on":
            outbound = HistoryPublisher(outbound, name)
        owner = f"prebook-{name} relay {uuid4().hex[:12]}"
        self.outbox = SqlOutbox(self.engines.background, owner)
        relay = Relay(self.outbox, observer)
        self.notifier = RelayNotifier(name, settings.database_url, owner, relay)
        self.assembled = assemble(service, settings, policies, self._create_ports(service, relay, outbound), observer)
        receive = self.assembled.receive
        self.partitioned_queues = PartitionedQueues(name, self.engines.messaging, receive, outbound, policies)
        sequencer = self.partitioned_queues.create_sequencer(observer)
        self.consumer = RabbitConsumer(
            settings.amqp_url,
            name,
            prefetch_by_queue(name, policies),
            receive,
            publisher=outbound,
            policies=policies,
            observer=observer,
            check_sender=sender_check(suite_topology(retry_delays_s(policies))),
            sequencer=sequencer,
        )
        self.partition_loops = self.partitioned_queues.loops(sequencer, self.consumer, owner)
        purge_rules = (*common_purges(settings.outbox_dedup_s), *self.partitioned_queues.purges, *service.purges)
        self.extension_interval_s = settings.claim_check_extension_s
        self.unsent_bodies = UnsentBodies(
            self.engines.background,
            timedelta(seconds=claim_lifetime_s(settings, policies)),
            timedelta(seconds=self.extension_interval_s),
        )
        self.purger = Purger(self.engines.background, purge_rules)
        self.gauges = ProcessGauges(
            self.metrics,
            self.outbox,
            self.engines.messaging,
            self.consumer.consumer_circuits,
            provider_circuit_states(name, self.assembled.channels),
        )
        self.connections = Connections(
            _http_limits(settings),
            on_refusal=lambda code: self.metrics.http_refused.labels(code).inc(),
            is_proxy=network_check(settings.trusted_proxies),
        )
        public_app = create_app(
            name, self.assembled.routes, missing_dependencies=self.missing_dependencies, lifespan=self._lifespan
        )
        internal_app = create_internal_app(
            name,
            self.assembled.internal_routes,
            missing_dependencies=self.missing_dependencies,
            refresh_gauges=self._refresh_gauges,
        )
        self.app = ListenerApp(public_app, internal_app, settings.internal_port)

    def _create_ports(self, service: Service[W], relay: Relay, publisher: Publisher) -> ServicePorts[W]:
        units = UnitsOfWork(
            *(unit_of_work_factory(engine, service.unit_of_work, self.notifier.hand_off) for engine in self.engines)
        )
        return ServicePorts(
            http=self.http,
            publisher=publisher,
            units=units,
            relay=relay,
            pending_replies=self.outbox,
            broker_blocked_s=lambda: self.publisher.blocked_s,
            on_refused_call=lambda reason: self.metrics.http_calls_refused.labels(reason.value).inc(),
            read_conversation=self.conversations.read,
        )

    async def missing_dependencies(self) -> Mapping[str, str]:
        """Dependencies that the service needs and does not have, each with the reason."""
        connections = {
            "broker (publishing)": self.publisher.connection.up,
            "broker (consuming)": self.consumer.connection.up,
            **self.assembled.extensions.connections,
        }
        missing = {name: "no connection yet, or lost" for name, up in connections.items() if not up.is_set()}
        try:
            await self.engines.check()
        except Unreachable as error:
            missing["database"] = str(error)
        except Exception as error:  # noqa: BLE001 - any error means that the database cannot be used
            missing["database"] = error_summary(error)
        return missing

    async def _refresh_gauges(self) -> None:
        refreshes = (self.gauges.refresh, self.partitioned_queues.refresh_gauges)
        await refresh_all((*refreshes, *self.assembled.extensions.gauge_refreshers), self.metrics.gauges_stale)

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncIterator[None]:
        loops = {
            "publisher": self.publisher.connection.run,
            "consumer": self.consumer.connection.run,
            "wakeup": self.notifier.run,
            "lease_release": lambda: run_every(RELEASE_INTERVAL_S, self.outbox.release_orphaned),
            "purge": lambda: run_every(PURGE_INTERVAL_S, self.purger.purge_due),
            "unsent_bodies": lambda: run_every(self.extension_interval_s, self.unsent_bodies.extend),
            "loop_lag": self._measure_loop_lag,
            "secret_reload": lambda: run_every(RELOAD_INTERVAL_S, self.secret_reloader.reload_changed),
            **self.partition_loops,
            **self.assembled.loops,
            **self.assembled.extensions.loops,
        }
        tasks = {name: asyncio.create_task(run_forever(name, run)) for name, run in loops.items()}
        freeze_long_lived_objects()
        try:
            yield
        finally:
            await self._stop(tasks)

    async def _stop(self, tasks: Mapping[str, asyncio.Task[None]]) -> None:
        """Stop consuming, finish the work under way, publish the rows of the outbox, then close broker and database."""
        await self.consumer.stop()
        await self.assembled.context.tasks.stop(TASKS_TIMEOUT_S)
        for names in (
            (
                *self.assembled.extensions.loops,
                "deadlines",
                "poller",
                "reply_lookup",
                *self.partition_loops,
                "consumer",
            ),
            ("relay", "lease_release", "purge", "unsent_bodies", "loop_lag"),
            ("publisher", "wakeup"),  # the relay's session must outlive it, else another relay claims its rows
        ):
            await cancel_and_wait([tasks[name] for name in names])
        await self.assembled.gateway.stop(TASKS_TIMEOUT_S)
        await self.http.close()
        await self.engines.dispose()
        if self.span_recorder:
            await asyncio.to_thread(self.span_recorder.close)
        log.info("service stopped")

    async def _measure_loop_lag(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            before = clock()
            await asyncio.sleep(LOOP_LAG_INTERVAL_S)
            self.metrics.loop_lag_s.set(max(0.0, clock() - before - LOOP_LAG_INTERVAL_S))


def _create_span_recorder(service: str, url: str) -> "SpanRecorder | None":
    """Return the recorder that exports spans; None without the URL of a collector, which loads no library either."""
    if not url:
        return None
    try:
        from prebook.runtime.span_recorder import SpanRecorder, create_exporter  # noqa: PLC0415 - an extra
    except ImportError as error:
        remedy = "install the extra: pip install 'prebook[otel]', or unset the variable"
        raise BadSettings(f"PREBOOK_OTLP_URL: {error}; {remedy}") from None
    return SpanRecorder(service, create_exporter(url))


def _http_limits(settings: ServiceSettings) -> HttpLimits:
    connections = connection_limit(settings.max_connections, LISTENERS)
    return HttpLimits(
        max_connections=connections,
        max_peer_connections=max(1, int(connections * settings.peer_connection_share)),
    )


def main(service: Service[Any]) -> NoReturn:
    """Run ``python -m prebook.<service>``. Exits with status 2 and names each variable if any setting is wrong."""
    try:
        settings, policies = read_settings()
    except BadSettings as error:
        _refuse_settings(service.name, error)
    logging.configure(service.name, settings.log_level)
    WALL_CLOCK.skew_s = settings.clock_skew_s
    if settings.crash_dir:
        arm_crash_files(service.name, Path(settings.crash_dir))
    if settings.crash_message_id:
        arm_crash_message(settings.crash_message_id)
    try:
        process = ServiceProcess(service, settings, policies)
    except BadSettings as error:  # found by a part that needs both settings and policies
        _refuse_settings(service.name, error)
    config = uvicorn.Config(
        process.app,
        loop="uvloop",
        http=serve_with(process.connections),
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # a peer is who connects, whatever it says in X-Forwarded-For
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        timeout_keep_alive=75,
        lifespan="on",
    )
    server = uvicorn.Server(config)
    # uvicorn stops in order and then raises the signal again, which would end the process by that signal. An orderly
    # stop has status 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_cleanly)
    addresses = [(settings.http_host, settings.http_port), (settings.internal_host, settings.internal_port)]
    server.run([bind_listener(*address) for address in addresses])
    sys.exit(0 if server.started else 1)


def _refuse_settings(service: str, error: BadSettings) -> NoReturn:
    sys.stderr.write(f"{service} cannot start: wrong settings\n{error}\n")
    sys.exit(EXIT_BAD_SETTINGS)


def _exit_cleanly(*_: object) -> NoReturn:
    sys.exit(0)
