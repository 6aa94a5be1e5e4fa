"""What a service gives and gets: the value that each app.py declares, and what its API may use."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from litestar.types import ControllerRouterHandler

from prebook.coupling.ports import HttpClient, Publisher
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.handlers import Handlers
from prebook.messaging.policy import Policies
from prebook.messaging.unit_of_work import BeginUnitOfWork, UnitOfWork
from prebook.postgres.connection import PooledConnection
from prebook.postgres.purge import PurgeRule
from prebook.postgres.unit_of_work import SqlUnitOfWork
from prebook.rabbit.connection import BrokerConnection
from prebook.runtime.settings import ServiceSettings

T = TypeVar("T")
U = TypeVar("U", bound=UnitOfWork)
W = TypeVar("W", bound=SqlUnitOfWork)


@dataclass(frozen=True)
class ServiceContext(Generic[U]):
    """What a service's own API may use."""

    endpoint: Endpoint[U]
    begin: BeginUnitOfWork[U]
    settings: ServiceSettings
    policies: Policies
    begin_upkeep: BeginUnitOfWork[U] | None = None
    """As ``begin``, without waiting behind requests and messages for a connection; ``begin`` where there is none."""
    singletons: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False, compare=False)

    def singleton(self, make: Callable[["ServiceContext[U]"], T]) -> T:
        """What ``make`` makes, once for this process: the API and the loops beside it share it."""
        if make not in self.singletons:
            self.singletons[make] = make(self)
        found: T = self.singletons[make]
        return found


RouteFactory = Callable[[ServiceContext[Any]], Sequence[ControllerRouterHandler]]


@dataclass(frozen=True)
class OutboundPorts:
    """The process's own ways out, for work that is no step of a conversation."""

    publisher: Publisher
    http: HttpClient
    broker_blocked_s: Callable[[], float | None]
    """For how long the broker has taken nothing, being short of memory or disk; None: it takes."""


@dataclass(frozen=True)
class ServiceExtensions:
    """Work of one service's own, beside the common loops. ``links``: what it is not ready without.

    ``gauges`` are brought up to date when somebody asks for the metrics.
    """

    loops: Mapping[str, Callable[[], Awaitable[object]]] = field(default_factory=dict)
    connections: Mapping[str, BrokerConnection[Any]] = field(default_factory=dict)
    gauge_refreshers: Sequence[Callable[[], Awaitable[None]]] = ()


@dataclass(frozen=True)
class Service(Generic[W]):
    """What makes one service different from another."""

    name: str
    handlers: Callable[[ServiceSettings], Handlers[W]]
    unit_of_work: Callable[[PooledConnection], W]
    api: RouteFactory | None = None
    extensions: Callable[[ServiceContext[Any], OutboundPorts], ServiceExtensions] | None = None
    purges: Sequence[PurgeRule] = ()

    def routes(self, context: ServiceContext[Any]) -> Sequence[ControllerRouterHandler]:
        return self.api(context) if self.api else ()
