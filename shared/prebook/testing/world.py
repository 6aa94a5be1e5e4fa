"""World: services in one process, over an in-memory database, broker and network.

Everything between the adapters is production code: handler tables, endpoint, gateway, relay, deadlines, HTTP routes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self, TypeAlias

from litestar import Litestar

from prebook.coupling.inbound import InboundGateway
from prebook.flows import ALL_FLOWS, EVENT_PARTITIONS, EVENT_TYPES
from prebook.http.app import create_app
from prebook.messaging import addresses
from prebook.messaging.codec import decode, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.observer import MessagingObserver, NullObserver
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.policy import Policies
from prebook.messaging.recoverability.decision import decide
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.patterns.retry import Retry
from prebook.runtime.assembly import AssembledService, ServicePorts, assemble
from prebook.runtime.service import Service
from prebook.runtime.settings import ServiceSettings
from prebook.testing.memory import MemoryBroker, MemoryDatabase, MemoryHttp
from prebook.topology.consumed_queues import prefetch_by_queue

POLL_INTERVAL_S = 0.005
"""Seconds between two checks whether a service is up again."""

Members: TypeAlias = Mapping[str, tuple[Service[Any], Callable[[], Any]]]
"""Service and factory of its state (an object with the methods of the service's store), by name."""


class World:
    """Runs services against each other while its block lasts.

    ``down`` is the set of services that neither reply, nor consume, nor relay; a test adds and removes names.
    """

    def __init__(
        self,
        members: Members,
        *,
        settings: ServiceSettings,
        policies: Policies,
        observer: MessagingObserver | None = None,
        copies: int = 1,
    ) -> None:
        """``copies``: how often the broker delivers each message; more than 1 tests idempotent receivers."""
        self.down: set[str] = set()
        self.broker = MemoryBroker(bindings(), copies)
        self.settings = settings
        self.policies = policies
        self.databases = {name: MemoryDatabase(make_state()) for name, (_, make_state) in members.items()}
        self._observer = observer or NullObserver()
        self._loops: list[Callable[[], Any]] = []
        apps: dict[str, Litestar] = {}
        self.http = MemoryHttp(apps, self.down)
        self.services = {name: self._assemble(service) for name, (service, _) in members.items()}
        apps |= {name: _create_app(name, assembled) for name, assembled in self.services.items()}
        self.http.connect()

    def _open_ports(self, service: Service[Any]) -> ServicePorts[Any]:
        database = self.databases[service.name]
        relay = Relay(database, self._observer)
        database.hand_off = relay.hand_off
        return ServicePorts(
            http=self.http,
            publisher=self.broker,
            units=UnitsOfWork.of_one(database.begin),
            relay=relay,
            pending_replies=database,
        )

    def _assemble(self, service: Service[Any]) -> AssembledService[Any]:
        name = service.name
        ports = self._open_ports(service)
        assembled = assemble(service, self.settings, self.policies, ports, self._observer)

        async def dispatch(row: LeasedRow) -> None:
            await self._wait_until_up(name)
            await assembled.gateway.dispatch(row)

        loops = {**assembled.loops, "relay": lambda: ports.relay.run(dispatch)}
        self._loops += loops.values()
        for queue in prefetch_by_queue(name, self.policies):
            self._loops.append(partial(self._consume, name, queue, assembled.inbound))
        return assembled

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(run()) for run in self._loops]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.http.close()

    async def _wait_until_up(self, name: str) -> None:
        while name in self.down:
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _consume(self, name: str, queue: str, inbound: InboundGateway) -> None:
        waiting = self.broker.queues[queue]
        while True:
            await self._wait_until_up(name)
            if waiting:
                await self._consume_one(queue, decode(waiting.popleft()), inbound)
            else:
                await self.broker.wait_for_message(queue)

    async def _consume_one(self, queue: str, envelope: Envelope, inbound: InboundGateway) -> None:
        """Recover from a failure by the same decision as the real consumer, without its delays."""
        try:
            await inbound.receive(envelope)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            decision = decide(envelope, error, self.policies)
            target = queue if isinstance(decision, Retry) else addresses.PARKING_QUEUE
            self.broker.queues[target].append(encode(envelope.next_attempt()))


def bindings() -> dict[tuple[str, str], Collection[str]]:
    """(exchange, routing key) -> queues: the topology, as far as an in-memory broker needs it."""
    bound: dict[tuple[str, str], Collection[str]] = {}
    for flow in ALL_FLOWS:
        one_way = _first_partition(addresses.one_way_request_queue(flow.provider, flow.name), flow.partitions)
        request = _first_partition(addresses.request_queue(flow.provider, flow.name), flow.partitions)
        bound[addresses.REQUESTS, flow.name] = {request}
        bound[addresses.EVENTS, addresses.request_routing_key(flow.name)] = {one_way}
        bound[addresses.EVENTS, addresses.reply_routing_key(flow.name)] = {addresses.one_way_reply_queue(flow.caller)}
        bound[addresses.REPLIES, flow.caller] = {addresses.reply_queue(flow.caller)}
    for event in EVENT_TYPES:
        queues = {
            _first_partition(addresses.event_queue(name), EVENT_PARTITIONS.get(name, 0)) for name in event.subscribers
        }
        bound[addresses.EVENTS, addresses.event_routing_key(event.name)] = {*queues, "archive"}
    return bound


def _first_partition(address: str, partitions: int) -> str:
    """One partition suffices here: each queue has one consumer that handles one message at a time."""
    return addresses.partition_queue(address, 0) if partitions else address


def _create_app(name: str, assembled: AssembledService[Any]) -> Litestar:
    return create_app(
        name,
        assembled.routes,
        missing_dependencies=_report_ready,
        refresh_gauges=_do_nothing,
        lifespan=_no_lifespan,
    )


async def _report_ready() -> Mapping[str, str]:
    return {}


async def _do_nothing() -> None:
    return None


@asynccontextmanager
async def _no_lifespan(_: Litestar) -> AsyncIterator[None]:
    yield
