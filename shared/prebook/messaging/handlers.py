"""What a handler is told and what it returns. Messages out are returned, never published by a handler."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from prebook.contracts.message import Message
from prebook.contracts.plan import Plan
from prebook.flows import Announcement, Ask, Fact, Flow
from prebook.messaging.envelope import Kind
from prebook.messaging.unit_of_work import UnitOfWork

U = TypeVar("U", bound=UnitOfWork)


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler may know about the message beside its body."""

    conversation: str
    """The booking id."""
    message_id: str
    plan: Plan
    now: datetime
    key: str = ""
    """The key under which the question was asked (see Ask.key); tells answers of one flow apart."""
    said_at: datetime | None = None
    """When it was said, by the clock of who said it; None: at ``now``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step leads to: an answer now, questions to others, facts told; any of them, or nothing yet."""

    answer: Message | None = None
    asks: tuple[Ask, ...] = ()
    facts: tuple[Fact, ...] = ()


Handle = Callable[[Context, Any, U], Awaitable[Outcome]]
Consult = Callable[[Context, Any], Awaitable[Any]]


@dataclass(frozen=True)
class Step(Generic[U]):
    """A handler and, where it must ask the outside world first, how.

    ``consult`` runs before the transaction, may be repeated, and must be idempotent on the far side under
    ``Context.message_id``; what it returns is handed to ``handle`` in place of the body.
    """

    handle: Handle[U]
    consult: Consult | None = None


@dataclass(frozen=True)
class Handlers(Generic[U]):
    """A service's one handler table: requests it serves, answers it resumes on, facts it hears."""

    serves: Mapping[Flow[Any, Any], Step[U]] = field(default_factory=dict)
    resumes: Mapping[Flow[Any, Any], Step[U]] = field(default_factory=dict)
    hears: Mapping[Announcement[Any], Step[U]] = field(default_factory=dict)

    def table(self) -> dict[tuple[Kind, str], Step[U]]:
        return {
            **{(Kind.REQUEST, flow.name): step for flow, step in self.serves.items()},
            **{(Kind.ANSWER, flow.name): step for flow, step in self.resumes.items()},
            **{(Kind.FACT, told.name): step for told, step in self.hears.items()},
        }
