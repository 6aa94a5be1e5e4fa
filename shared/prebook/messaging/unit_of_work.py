"""Port to the database of a service: state, inbox, outbox and pending replies commit together.

Source: Unit of Work (Fowler); EIP, Transactional Client and Idempotent Receiver; Transactional Outbox.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from prebook.messaging.envelope import Envelope, MessageKind


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """Envelope to write to the outbox, with its route, ordering key and delay."""

    envelope: Envelope
    route: str
    """Route that the message leaves by (``Channel.route``)."""
    ordering_key: str
    """Rows of one route with the same key are sent in the order of their commits, provided that each transaction locks
    the state behind the key (or creates it) before it enqueues.
    """
    delay: timedelta = timedelta()
    """Time from the insert, by the database's clock, until the message is due. An absolute time would depend on the
    clock of the service."""


@dataclass(frozen=True, slots=True)
class PendingReply:
    """Request whose reply this service awaits."""

    request: Envelope
    due_at: datetime
    """When a synthetic reply takes the place of the missing one."""
    poll_at: datetime | None = None
    """When to poll for the reply for the first time; None: never."""


@dataclass(frozen=True, slots=True)
class CheckedBody:
    """Body of a message with a claim check, to be stored with the message."""

    reference: str
    """Key of the body (``patterns.claim_check``)."""
    message_id: str
    kind: MessageKind
    flow: str
    """With ``kind``: which services may read the body."""
    body: bytes
    lifetime: timedelta
    """Time from the insert, by the database's clock, until the body may be deleted."""


@dataclass(frozen=True, slots=True)
class StoredBody:
    """Body of a message with a claim check, as it is stored."""

    kind: MessageKind
    flow: str
    body: bytes


class UnitOfWork(Protocol):
    """One transaction. An exception inside rolls it back. Every method raises whatever the database raises."""

    async def record_message(self, envelope: Envelope) -> bool:
        """Record a message in the inbox, and end the pending reply that it settles.

        Returns False if the message was recorded before and has had its effect.
        """
        ...

    async def record_messages(self, envelopes: Sequence[Envelope]) -> Collection[str]:
        """Record messages of different conversations in the inbox; returns the ids of those that are new."""
        ...

    async def find_received_at(self, message_id: str) -> datetime | None:
        """Time at which a message was recorded in the inbox; None if it was not, or before the deduplication window."""
        ...

    async def record_request(self, request: Envelope) -> None:
        """Record a request as pending, so that a later handler can reply to it."""
        ...

    async def find_pending_request(self, flow: str, conversation_id: str) -> Envelope | None:
        """Return the pending request of this flow in the conversation, if there is one."""
        ...

    async def record_reply(self, reply: Envelope) -> None:
        """Store a reply under its request, so that a repeated request gets it again."""
        ...

    async def find_reply(self, request_id: str) -> Envelope | None:
        """Return the stored reply to a request, if there is one."""
        ...

    async def find_replies(self, request_ids: Collection[str]) -> Sequence[Envelope]:
        """Return the stored replies to these requests."""
        ...

    async def enqueue(self, messages: Sequence[OutboxMessage]) -> None:
        """Write messages to the outbox; a message whose id is already there is ignored."""
        ...

    async def await_replies(self, pending_replies: Sequence[PendingReply]) -> None:
        """Record requests as awaiting replies, until a reply (synthetic or not) is recorded in the inbox."""
        ...

    async def list_outstanding(self, request_ids: Sequence[str]) -> Collection[str]:
        """Return those requests whose reply has a deadline, or whose request or reply waits in the outbox."""
        ...

    async def stop_polling(self, request_id: str) -> None:
        """Poll no more for the reply to a request, which this service has received; its deadline stays."""
        ...

    async def store_bodies(self, bodies: Sequence[CheckedBody]) -> None:
        """Store the bodies of messages that are enqueued with claim checks; one that is stored already lives longer."""
        ...

    async def read_body(self, reference: str) -> StoredBody | None:
        """Return a stored body, and record that it has been read; None if it has expired and been deleted."""
        ...

    async def extend_bodies(self, references: Collection[str], lifetime: timedelta) -> int:
        """Keep stored bodies for ``lifetime`` from now, or longer; return how many of them there are."""
        ...


W_co = TypeVar("W_co", bound=UnitOfWork, covariant=True)
BeginUnitOfWork = Callable[[], AbstractAsyncContextManager[W_co]]
"""Opens a unit of work; leaving it without an exception commits."""


@dataclass(frozen=True, slots=True)
class UnitsOfWork(Generic[W_co]):
    """Factories of units of work, one per kind of work, so that none exhausts the connections of another.

    Source: Release It!, Bulkheads.
    """

    messages: BeginUnitOfWork[W_co]
    """For received messages."""
    commands: BeginUnitOfWork[W_co]
    """For commands and queries of users of the service."""
    background: BeginUnitOfWork[W_co]
    """For background loops, which must wait for neither."""

    @classmethod
    def of_one(cls, begin: BeginUnitOfWork[W_co]) -> "UnitsOfWork[W_co]":
        """Use one factory for all kinds of work."""
        return cls(begin, begin, begin)
