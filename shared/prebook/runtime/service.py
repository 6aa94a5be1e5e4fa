"""What a service gives and gets: the value that each app.py declares, and what its API may use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncConnection

from prebook.messaging.endpoint import Endpoint
from prebook.messaging.outcome import Handlers
from prebook.messaging.policy import Policies
from prebook.messaging.unit_of_work import Begin, UnitOfWork
from prebook.postgres.work import SqlWork
from prebook.runtime.settings import Settings

U = TypeVar("U", bound=UnitOfWork)
W = TypeVar("W", bound=SqlWork)


@dataclass(frozen=True)
class Running(Generic[U]):
    """What a service's own API may use."""

    endpoint: Endpoint[U]
    begin: Begin[U]
    settings: Settings
    policies: Policies


Api = Callable[[Running[Any]], Sequence[ControllerRouterHandler]]


@dataclass(frozen=True)
class Service(Generic[W]):
    """What makes one service different from another."""

    name: str
    handlers: Callable[[Settings], Handlers[W]]
    work: Callable[[AsyncConnection], W]
    api: Api | None = None
