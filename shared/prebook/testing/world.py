"""World: services in one process, over an in-memory database, broker and network.

Everything between the adapters is production code: handler tables, endpoint, gateway, relay, deadlines, HTTP routes,
the topology, and the decision about messages that fail.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self, TypeAlias

from prebook.contracts.conversations import ConversationRecords
from prebook.contracts.plan import Plan
from prebook.coupling.ports import HttpClient
from prebook.http.signed_client import SignedHttpClient
from prebook.messaging.clock import utc_now
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.observer import MessagingObserver, NullObserver
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.policy import Policies, default_plan, retry_delays_s
from prebook.messaging.staging import MessageContext
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.patterns.trace import TraceContext
from prebook.runtime.assembly import AssembledService, ServicePorts, assemble
from prebook.runtime.service import Service
from prebook.runtime.settings import ServiceSettings
from prebook.testing.broker import MemoryBroker
from prebook.testing.configuration import make_policies, make_settings, signing_secret_of, with_call_secrets
from prebook.testing.consumer import MemoryConsumer
from prebook.testing.http import MemoryHttp, create_memory_app
from prebook.testing.memory import MemoryDatabase
from prebook.topology.consumed_queues import group_by_partition, prefetch_by_queue
from prebook.topology.model import suite_topology

TASKS_TIMEOUT_S = 2.0
"""Seconds that a stopping world waits for work whose callers are gone, and again after it has cancelled it."""
POLL_INTERVAL_S = 0.005
"""Seconds between two checks of a condition that a test waits for, or of a service that is down."""

Members: TypeAlias = Mapping[str, tuple[Service[Any], Callable[[], Any]]]
"""Service and factory of its state (an object with the methods of the service's store), by name."""


class World:
    """Runs services against each other while its block lasts. Raises the error of a loop that failed, at the end.

    ``down`` is the set of services that neither reply, nor consume, nor relay; a test adds and removes names.
    """

    def __init__(
        self,
        members: Members,
        *,
        settings: ServiceSettings | None = None,
        policies: Policies | None = None,
        observer: MessagingObserver | None = None,
        copies: int = 1,
    ) -> None:
        """``copies``: how often broker and network deliver each message; more than 1 tests idempotent receivers."""
        self.down: set[str] = set()
        self.settings = settings or make_settings()
        self.policies = policies or make_policies()
        self.broker = MemoryBroker(suite_topology(retry_delays_s(self.policies)), copies)
        self.databases = {name: MemoryDatabase(make_state()) for name, (_, make_state) in members.items()}
        self._observer = observer or NullObserver()
        self._loops: list[Callable[[], Any]] = []
        apps: dict[str, Any] = {}
        self.http = MemoryHttp(apps, self.down, copies)
        self.services = {name: self._assemble(service) for name, (service, _) in members.items()}
        apps |= {name: create_memory_app(assembled) for name, assembled in self.services.items()}
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
            read_conversation=partial(_read_nothing, service.name),
        )

    def _assemble(self, service: Service[Any]) -> AssembledService[Any]:
        name = service.name
        ports = self._open_ports(service)
        assembled = assemble(service, with_call_secrets(self.settings, name), self.policies, ports, self._observer)

        async def dispatch(row: LeasedRow) -> None:
            await self._wait_until_up(name)
            await assembled.gateway.dispatch(row)

        loops = {**assembled.loops, "relay": lambda: ports.relay.run(dispatch)}
        self._loops += [*loops.values(), *assembled.extensions.loops.values()]
        for queue in prefetch_by_queue(name, self.policies):
            self._loops.append(partial(self._consume, name, queue, assembled.receive))
        return assembled

    async def _consume(self, service: str, queue: str, receive: MessageHandler) -> None:
        consumer = MemoryConsumer(
            self.broker,
            queue,
            group_by_partition(service, self.policies).get(queue, queue),
            receive,
            policies=self.policies,
            observer=self._observer,
        )
        await consumer.run(partial(self._wait_until_up, service))

    def client_of(self, caller: str) -> HttpClient:
        """Return a client whose calls to the services' internal endpoints are signed by ``caller``."""
        return SignedHttpClient(self.http, caller, lambda: (signing_secret_of(caller),))

    async def execute(self, service: str, command: object, conversation_id: str, plan: Plan | None = None) -> None:
        """Run a command of a service, as its API does. ``plan``: the default plan of the policies if None."""
        context = MessageContext(
            conversation_id, plan or default_plan(self.policies), TraceContext().child(), utc_now()
        )
        await self.services[service].gateway.execute(command, context)

    async def wait_for_state(self, service: str, condition: Callable[[Any], bool], *, timeout_s: float = 5.0) -> None:
        """Wait until ``condition`` holds for the committed state of a service.

        Raises AssertionError after ``timeout_s`` seconds.
        """
        database = self.databases[service]
        try:
            async with asyncio.timeout(timeout_s):
                while not condition(database.tables.state):
                    await asyncio.sleep(POLL_INTERVAL_S)
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s; {service} has {database.tables.state}") from None

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(run()) for run in self._loops]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for assembled in self.services.values():
            await assembled.context.tasks.stop(TASKS_TIMEOUT_S)
            await assembled.gateway.stop(TASKS_TIMEOUT_S)
        await self.http.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _wait_until_up(self, name: str) -> None:
        while name in self.down:
            await asyncio.sleep(POLL_INTERVAL_S)


async def _read_nothing(service: str, _: str) -> ConversationRecords:
    """Return no records: they are rows of PostgreSQL."""
    return ConversationRecords(service=service)
