"""Declaration of a service by its app.py, and the context that its API and extensions receive."""

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
    """Parts of the process that a service's own API and extensions use."""

    endpoint: Endpoint[U]
    begin: BeginUnitOfWork[U]
    settings: ServiceSettings
    policies: Policies
    begin_background: BeginUnitOfWork[U] | None = None
    """As ``begin``, from the pool of background work: it waits for no request or message. None: use ``begin``."""
    singletons: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False, compare=False)

    def singleton(self, make: Callable[["ServiceContext[U]"], T]) -> T:
        """Return the object that ``make`` creates, created once per process and shared by the API and the loops."""
        if make not in self.singletons:
            self.singletons[make] = make(self)
        found: T = self.singletons[make]
        return found


RouteFactory = Callable[[ServiceContext[Any]], Sequence[ControllerRouterHandler]]


@dataclass(frozen=True)
class OutboundPorts:
    """Publisher and HTTP client of the process, for work outside the handling of messages."""

    publisher: Publisher
    http: HttpClient
    broker_blocked_s: Callable[[], float | None]
    """Seconds for which the broker has blocked publishers because memory or disk is short; None: not blocked."""


@dataclass(frozen=True)
class ServiceExtensions:
    """Work of one service beside the common loops.

    ``connections`` must be up for the service to be ready; ``gauge_refreshers`` run at every scrape of the metrics.
    """

    loops: Mapping[str, Callable[[], Awaitable[object]]] = field(default_factory=dict)
    connections: Mapping[str, BrokerConnection[Any]] = field(default_factory=dict)
    gauge_refreshers: Sequence[Callable[[], Awaitable[None]]] = ()


@dataclass(frozen=True)
class Service(Generic[W]):
    """Handlers, unit of work, API, extensions and purge rules of one service."""

    name: str
    handlers: Callable[[ServiceSettings], Handlers[W]]
    unit_of_work: Callable[[PooledConnection], W]
    api: RouteFactory | None = None
    extensions: Callable[[ServiceContext[Any], OutboundPorts], ServiceExtensions] | None = None
    purges: Sequence[PurgeRule] = ()

    def routes(self, context: ServiceContext[Any]) -> Sequence[ControllerRouterHandler]:
        return self.api(context) if self.api else ()
