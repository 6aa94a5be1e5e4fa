"""What a handler is told and what it returns. Messages out are returned, never published by a handler."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from prebook.contracts.message import Message
from prebook.contracts.plan import Plan
from prebook.flows import Event, EventType, Flow, Request
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.unit_of_work import UnitOfWork

U = TypeVar("U", bound=UnitOfWork)


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """What a handler may know about the message beside its body."""

    conversation_id: str
    """The booking id."""
    message_id: str
    plan: Plan
    now: datetime
    request_key: str = ""
    """The key under which the question was asked (see Request.key); tells answers of one flow apart."""
    occurred_at: datetime | None = None
    """When it was said, by the clock of who said it; None: at ``now``."""


@dataclass(frozen=True, slots=True)
class HandlerResult:
    """What a step leads to: an answer now, questions to others, facts told; any of them, or nothing yet."""

    reply: Message | None = None
    requests: tuple[Request, ...] = ()
    events: tuple[Event, ...] = ()


MessageHandler = Callable[[Envelope], Awaitable[object]]
"""Handles one received message; what it returns is ignored."""
HandlerFunction = Callable[[HandlerContext, Any, U], Awaitable[HandlerResult]]
PreTransaction = Callable[[HandlerContext, Any], Awaitable[Any]]


@dataclass(frozen=True)
class HandlerSpec(Generic[U]):
    """A handler and, where it must ask the outside world first, how.

    ``pre_transaction`` runs before the transaction, may be repeated, and must be idempotent on the far side under
    ``HandlerContext.message_id``; what it returns is handed to ``handle`` in place of the body.
    """

    handle: HandlerFunction[U]
    pre_transaction: PreTransaction | None = None

    async def prepare(self, context: HandlerContext, body: Any) -> Any:
        """Run ``pre_transaction``, if there is one; returns what ``handle`` gets in place of the body."""
        return await self.pre_transaction(context, body) if self.pre_transaction else body


@dataclass(frozen=True)
class Handlers(Generic[U]):
    """A service's one handler table: commands of its users, requests it provides, replies and events it reacts to."""

    on_command: Mapping[type, HandlerSpec[U]] = field(default_factory=dict)
    """By the type of the command, a value of the service's own that no message carries."""
    on_request: Mapping[Flow[Any, Any], HandlerSpec[U]] = field(default_factory=dict)
    on_reply: Mapping[Flow[Any, Any], HandlerSpec[U]] = field(default_factory=dict)
    on_event: Mapping[EventType[Any], HandlerSpec[U]] = field(default_factory=dict)

    def table(self) -> dict[tuple[MessageKind, str], HandlerSpec[U]]:
        return {
            **{(MessageKind.REQUEST, flow.name): step for flow, step in self.on_request.items()},
            **{(MessageKind.REPLY, flow.name): step for flow, step in self.on_reply.items()},
            **{(MessageKind.EVENT, told.name): step for told, step in self.on_event.items()},
        }
