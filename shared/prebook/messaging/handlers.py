"""Handlers: their context, their result and the handler table of a service.

A handler returns the messages to send and never publishes any itself.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from prebook.contracts.message import Message
from prebook.contracts.plan import Plan
from prebook.flows import ALL_FLOWS, EVENT_TYPES, Event, EventType, Flow, Request, ServiceName
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.unit_of_work import UnitOfWork

U = TypeVar("U", bound=UnitOfWork)


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """Metadata of the message that a handler gets in addition to the body."""

    conversation_id: str
    """The booking id."""
    message_id: str
    """Empty for a command."""
    plan: Plan
    now: datetime
    """Time of handling, by the service's clock, in UTC."""
    request_key: str = ""
    """``Request.key`` of the request, or of the request behind the reply; distinguishes replies of one flow."""
    occurred_at: datetime | None = None
    """When the message was created, by the sender's clock; None for a command."""


@dataclass(frozen=True, slots=True)
class HandlerResult:
    """Messages that follow from a handled message: a reply, requests and events, each optional."""

    reply: Message | None = None
    requests: tuple[Request, ...] = ()
    events: tuple[Event, ...] = ()


MessageHandler = Callable[[Envelope], Awaitable[object]]
"""Handles one received message; the return value is ignored."""
HandlerFunction = Callable[[HandlerContext, Any, U], Awaitable[HandlerResult]]
"""Handles a body inside the unit of work."""
PreTransaction = Callable[[HandlerContext, Any], Awaitable[Any]]
"""Calls an external system before the transaction; returns what the handler gets in place of the body."""


@dataclass(frozen=True)
class HandlerSpec(Generic[U]):
    """A handler and, if it needs an external system, the call before its transaction.

    ``pre_transaction`` may be repeated; the external system must deduplicate it by ``HandlerContext.message_id``. Its
    result replaces the body that ``handle`` gets.
    """

    handle: HandlerFunction[U]
    pre_transaction: PreTransaction | None = None
    shares_transaction: bool = True
    """Whether a message may share its transaction with messages of other conversations. False for a handler that locks
    more than the state of its own conversation: in a batch it could deadlock with others."""

    async def prepare(self, context: HandlerContext, body: Any) -> Any:
        """Run ``pre_transaction``, if there is one, and return the body for ``handle``. Raises what it raises."""
        return await self.pre_transaction(context, body) if self.pre_transaction else body


@dataclass(frozen=True)
class Handlers(Generic[U]):
    """Handler table of a service: commands of its users, requests it provides, replies and events it reacts to."""

    on_command: Mapping[type, HandlerSpec[U]] = field(default_factory=dict)
    """By type of the command: a value of the service that no message carries."""
    on_request: Mapping[Flow[Any, Any], HandlerSpec[U]] = field(default_factory=dict)
    on_reply: Mapping[Flow[Any, Any], HandlerSpec[U]] = field(default_factory=dict)
    on_event: Mapping[EventType[Any], HandlerSpec[U]] = field(default_factory=dict)

    def table(self) -> dict[tuple[MessageKind, str], HandlerSpec[U]]:
        """Return the message handlers by message kind and name of the flow or event type."""
        return {
            **{(MessageKind.REQUEST, flow.name): spec for flow, spec in self.on_request.items()},
            **{(MessageKind.REPLY, flow.name): spec for flow, spec in self.on_reply.items()},
            **{(MessageKind.EVENT, event_type.name): spec for event_type, spec in self.on_event.items()},
        }


def handler_problems(service: ServiceName, handlers: Handlers[Any]) -> list[str]:
    """Return where handler table and catalogue of flows disagree, each with a remedy; empty if they agree."""
    expected = {
        *((MessageKind.REQUEST, flow.name) for flow in ALL_FLOWS if flow.provider == service),
        *((MessageKind.REPLY, flow.name) for flow in ALL_FLOWS if flow.caller == service),
        *((MessageKind.EVENT, event.name) for event in EVENT_TYPES if service in event.subscribers),
    }
    handled = handlers.table().keys()
    missing = (
        f"{service} has no handler for the {kind} {name}: add it to on_{kind}" for kind, name in expected - handled
    )
    foreign = (
        f"{service} never gets the {kind} {name}: remove its handler, or name {service} in the catalogue"
        for kind, name in handled - expected
    )
    return sorted([*missing, *foreign])
