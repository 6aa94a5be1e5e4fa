"""What a service gives and gets: the value that each app.py declares, and what its API may use."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from litestar.types import ControllerRouterHandler

from prebook.coupling.ports import Http, Publisher
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.handlers import Handlers
from prebook.messaging.policy import Policies
from prebook.messaging.unit_of_work import Begin, UnitOfWork
from prebook.postgres.connection import Session
from prebook.postgres.purge import Purge
from prebook.postgres.unit_of_work import SqlWork
from prebook.rabbit.connection import Link
from prebook.runtime.settings import Settings

T = TypeVar("T")
U = TypeVar("U", bound=UnitOfWork)
W = TypeVar("W", bound=SqlWork)


@dataclass(frozen=True)
class Running(Generic[U]):
    """What a service's own API may use."""

    endpoint: Endpoint[U]
    begin: Begin[U]
    settings: Settings
    policies: Policies
    aside: Begin[U] | None = None
    """As ``begin``, without waiting behind requests and messages for a connection; ``begin`` where there is none."""
    made: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False, compare=False)

    def one(self, make: Callable[["Running[U]"], T]) -> T:
        """What ``make`` makes, once for this process: the API and the loops beside it share it."""
        if make not in self.made:
            self.made[make] = make(self)
        found: T = self.made[make]
        return found


Api = Callable[[Running[Any]], Sequence[ControllerRouterHandler]]


@dataclass(frozen=True)
class Outside:
    """The process's own ways out, for work that is no step of a conversation."""

    publisher: Publisher
    http: Http
    blocked_s: Callable[[], float | None]
    """For how long the broker has taken nothing, being short of memory or disk; None: it takes."""


@dataclass(frozen=True)
class Beside:
    """Work of one service's own, beside the common loops. ``links``: what it is not ready without.

    ``gauges`` are brought up to date when somebody asks for the metrics.
    """

    loops: Mapping[str, Callable[[], Awaitable[object]]] = field(default_factory=dict)
    links: Mapping[str, Link[Any]] = field(default_factory=dict)
    gauges: Sequence[Callable[[], Awaitable[None]]] = ()


@dataclass(frozen=True)
class Service(Generic[W]):
    """What makes one service different from another."""

    name: str
    handlers: Callable[[Settings], Handlers[W]]
    work: Callable[[Session], W]
    api: Api | None = None
    beside: Callable[[Running[Any], Outside], Beside] | None = None
    purges: Sequence[Purge] = ()

    def routes(self, running: Running[Any]) -> Sequence[ControllerRouterHandler]:
        return self.api(running) if self.api else ()
