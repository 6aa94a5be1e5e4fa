"""The port to a service's database: state, inbox, outbox and expected answers commit together or not at all."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from prebook.messaging.envelope import Envelope


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """An envelope for the outbox: which lane it leaves by, and how long after the commit at the earliest.

    A span and no moment: the outbox goes by one clock, and a service whose own is wrong must not wait for that.
    """

    envelope: Envelope
    route: str
    ordering_key: str
    """Rows of one lane with the same key leave in the order in which they were committed, where whoever posts them
    holds from the start what orders them: a lock on what they are about, or its being new.
    """
    delay: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class PendingReply:
    """A request that somebody here waits for: until when, and whether to ask after it meanwhile."""

    request: Envelope
    due_at: datetime
    poll_at: datetime | None = None


class UnitOfWork(Protocol):
    """One transaction. Whatever raises inside undoes all of it."""

    async def record_message(self, envelope: Envelope) -> bool:
        """Note the envelope in the inbox, and an answer as arrived; False if it has already had its effect."""
        ...

    async def record_messages(self, envelopes: Sequence[Envelope]) -> Collection[str]:
        """The same for several, of different conversations: the ids of those that are new."""
        ...

    async def find_received_at(self, message_id: str) -> datetime | None:
        """When a message was admitted; None where it was not, or so long ago that it is forgotten."""
        ...

    async def record_request(self, request: Envelope) -> None:
        """Remember this request as unanswered, so that a later step can answer it."""
        ...

    async def find_pending_request(self, flow: str, conversation_id: str) -> Envelope | None:
        """The request of this flow that the conversation still owes an answer to."""
        ...

    async def record_reply(self, reply: Envelope) -> None:
        """Store the answer beside its request, for whoever asks again."""
        ...

    async def find_reply(self, request_id: str) -> Envelope | None:
        """The stored answer to a request, if it has one."""
        ...

    async def enqueue(self, messages: Sequence[OutboxMessage]) -> None:
        """Into the outbox. A message id that is already there is the same message and is not staged again."""
        ...

    async def await_replies(self, pending_replies: Sequence[PendingReply]) -> None:
        """Note who must be answered by when. Ends when the answer is admitted."""
        ...


W_co = TypeVar("W_co", bound=UnitOfWork, covariant=True)
BeginUnitOfWork = Callable[[], AbstractAsyncContextManager[W_co]]
"""Opens a unit of work; leaving it without an exception commits."""


@dataclass(frozen=True, slots=True)
class UnitsOfWork(Generic[W_co]):
    """Ways to open a unit of work, by who waits for it, so that no kind of work takes the connections of another."""

    messages: BeginUnitOfWork[W_co]
    commands: BeginUnitOfWork[W_co]
    """For commands and queries of the service's users."""
    background: BeginUnitOfWork[W_co]
    """For loops that must not wait behind either."""

    @classmethod
    def of_one(cls, begin: BeginUnitOfWork[W_co]) -> "UnitsOfWork[W_co]":
        """The same way for all kinds of work."""
        return cls(begin, begin, begin)
