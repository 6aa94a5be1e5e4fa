"""Services as data: the parts that differ between services, and the context that their own code may use.

Every ``<service>/app.py`` declares one ``Service``; ``runtime.assembly`` puts it together, with the same code for
production and for tests.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from litestar.handlers import BaseRouteHandler
from litestar.types import ControllerRouterHandler

from prebook.asyncio_tools import OwnedTasks
from prebook.coupling.ports import HttpClient, Publisher
from prebook.flows import Flow, ServiceName
from prebook.messaging.channel import Channels
from prebook.messaging.gateway import MessagingGateway
from prebook.messaging.handlers import Handlers, PreTransaction, handler_problems
from prebook.messaging.policy import Policies
from prebook.messaging.unit_of_work import UnitOfWork, UnitsOfWork
from prebook.postgres.purge import PurgeRule
from prebook.runtime.settings import ServiceSettings
from prebook.topology.external_edges import ExternalEdge

U = TypeVar("U", bound=UnitOfWork)


@dataclass(frozen=True)
class ServiceContext(Generic[U]):
    """Context of a service's own API and loops."""

    gateway: MessagingGateway[U]
    units: UnitsOfWork[U]
    settings: ServiceSettings
    policies: Policies
    channels: Channels
    publisher: Publisher
    http: HttpClient
    broker_blocked_s: Callable[[], float | None]
    """For how many seconds the broker has accepted nothing, because of a memory or disk alarm; None if it accepts."""
    tasks: OwnedTasks = field(default_factory=OwnedTasks)
    """Work that continues when its caller disconnects; awaited when the service stops."""

    @property
    def clock(self) -> Callable[[], datetime]:
        """The service's clock, in UTC."""
        return self.gateway.clock


@dataclass(frozen=True)
class ServiceExtensions:
    """Parts of a service other than its message handlers."""

    routes: Sequence[ControllerRouterHandler] = ()
    """Routes of the public listener, for riders or operators."""
    internal_routes: Sequence[BaseRouteHandler] = ()
    """Routes of the internal listener; each declares who may call it."""
    loops: Mapping[str, Callable[[], Awaitable[object]]] = field(default_factory=dict)
    connections: Mapping[str, asyncio.Event] = field(default_factory=dict)
    """Connections without which the service is not ready; each event is set while its connection is up."""
    gauge_refreshers: Sequence[Callable[[], Awaitable[None]]] = ()
    """Called before metrics are read."""


def no_extensions(_: ServiceContext[Any]) -> ServiceExtensions:
    """Extensions of a service that has message handlers only."""
    return ServiceExtensions()


def no_lookups(_: ServiceSettings, __: HttpClient) -> Mapping[Flow[Any, Any], PreTransaction]:
    """Lookups of a service that needs no data of others."""
    return {}


@dataclass(frozen=True)
class Service(Generic[U]):
    """A service as data: its handler table, its unit of work and its extensions."""

    name: ServiceName
    handlers: Callable[[ServiceSettings], Handlers[U]]
    unit_of_work: Callable[[Any], U]
    """Makes the SQL unit of work of one transaction, given its pooled connection."""
    extensions: Callable[[ServiceContext[Any]], ServiceExtensions] = no_extensions
    purges: Sequence[PurgeRule] = ()
    lookups: Callable[[ServiceSettings, HttpClient], Mapping[Flow[Any, Any], PreTransaction]] = no_lookups
    """Makes the calls to other services before the transaction of a request, given the client that signs them."""
    external_edges: Sequence[ExternalEdge] = ()
    """Edges to parties outside the suite, for the scorecard and the check of the coupling."""

    def handler_table(self, settings: ServiceSettings, http: HttpClient) -> Handlers[U]:
        """Return the handlers, with the lookups before their transactions.

        Raises ValueError if they are not those of the service's flows and events.
        """
        handlers = self.handlers(settings)
        if problems := handler_problems(self.name, handlers):
            raise ValueError("; ".join(problems))
        lookups = self.lookups(settings, http)
        specs = {flow: replace(handlers.on_request[flow], pre_transaction=lookup) for flow, lookup in lookups.items()}
        return replace(handlers, on_request={**handlers.on_request, **specs})
