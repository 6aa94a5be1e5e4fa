"""The port to a service's database: state, inbox, outbox and expected answers commit together or not at all."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from prebook.messaging.envelope import Envelope


@dataclass(frozen=True, slots=True)
class Posting:
    """An envelope for the outbox: which lane it leaves by, and how long after the commit at the earliest.

    A span and no moment: the outbox goes by one clock, and a service whose own is wrong must not wait for that.
    """

    envelope: Envelope
    lane: str
    order_key: str
    """Rows of one lane with the same key leave in the order in which they were committed, where whoever posts them
    holds from the start what orders them: a lock on what they are about, or its being new.
    """
    after: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Expectation:
    """A request that somebody here waits for: until when, and whether to ask after it meanwhile."""

    request: Envelope
    due_at: datetime
    poll_at: datetime | None = None


class UnitOfWork(Protocol):
    """One transaction. Whatever raises inside undoes all of it."""

    async def admit(self, envelope: Envelope) -> bool:
        """Note the envelope in the inbox, and an answer as arrived; False if it has already had its effect."""
        ...

    async def admit_all(self, envelopes: Sequence[Envelope]) -> Collection[str]:
        """The same for several, of different conversations: the ids of those that are new."""
        ...

    async def admitted_at(self, message_id: str) -> datetime | None:
        """When a message was admitted; None where it was not, or so long ago that it is forgotten."""
        ...

    async def owe(self, request: Envelope) -> None:
        """Remember this request as unanswered, so that a later step can answer it."""
        ...

    async def question(self, flow: str, conversation: str) -> Envelope | None:
        """The request of this flow that the conversation still owes an answer to."""
        ...

    async def answered(self, answer: Envelope) -> None:
        """Store the answer beside its request, for whoever asks again."""
        ...

    async def answer_to(self, request_id: str) -> Envelope | None:
        """The stored answer to a request, if it has one."""
        ...

    async def post(self, postings: Sequence[Posting]) -> None:
        """Into the outbox. A message id that is already there is the same message and is not staged again."""
        ...

    async def expect(self, expectations: Sequence[Expectation]) -> None:
        """Note who must be answered by when. Ends when the answer is admitted."""
        ...


W_co = TypeVar("W_co", bound=UnitOfWork, covariant=True)
Begin = Callable[[], AbstractAsyncContextManager[W_co]]
"""Opens a unit of work; leaving it without an exception commits."""
