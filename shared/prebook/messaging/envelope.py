"""A message on its way."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from prebook.contracts.message import Message
from prebook.contracts.plan import Coupling, Plan

_REPLY_SUFFIX = ".reply"


class MessageKind(StrEnum):
    REQUEST = "request"
    REPLY = "reply"
    EVENT = "event"


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """One message with what it needs to travel, be told apart, be answered and be followed."""

    id: str
    """Dedup key. Derived from what asked for it, so the same thing asked twice is one message."""
    kind: MessageKind
    flow: str
    """Name of the flow, or of the announcement where ``kind`` is a fact."""
    body: Message
    source: str
    """The service that said it."""
    conversation_id: str
    """Correlation id: the booking that all these messages are about."""
    time: datetime
    plan: Plan
    reply_to: str = ""
    """Where the answer goes; stamped by the caller's channel, read by the same coupling on the other side."""
    expires_at: datetime | None = None
    """After this nobody waits for it any more: the caller has gone on without an answer."""
    attempt: int = 1
    traceparent: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Headers that we carry along without reading them."""
    encoded: Any = field(init=False, default=None, compare=False, repr=False)
    """The codec's: as it is on its way, once somebody has asked. A copy with anything changed has none."""

    @property
    def coupling(self) -> Coupling:
        """How it travels. A fact is one-way by nature, whatever the plan says about questions."""
        return Coupling.ONE_WAY if self.kind is MessageKind.EVENT else self.plan[self.flow]

    def reply_with(self, body: Message, *, source: str, at: datetime) -> Self:
        """The answer to this request. Its id is derived, so only the first of two answers takes effect.

        What is noted of the request's own way is no part of it.
        """
        return replace(
            self, kind=MessageKind.REPLY, id=reply_id(self.id), body=body, source=source, time=at, attempt=1, extra={}
        )

    def with_reply_to(self, address: str) -> Self:
        return replace(self, reply_to=address)

    def next_attempt(self) -> Self:
        """The same message, on its next attempt."""
        return replace(self, attempt=self.attempt + 1)

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at


def reply_id(request_id: str) -> str:
    """The id that an answer to this request has, whoever gives it."""
    return f"{request_id}{_REPLY_SUFFIX}"


def request_id_of(reply_id: str) -> str:
    """The id of the request that this is the reply to; see ``reply_id``."""
    return reply_id.removesuffix(_REPLY_SUFFIX)


def message_id(conversation_id: str, name: str, key: str = "") -> str:
    """The id of a request or fact: the same thing said twice in one conversation has the same id."""
    return ".".join(part for part in (conversation_id, name, key) if part)


def request_key(envelope: Envelope) -> str:
    """The key that ``message_id`` was given for this message, or for the request that it answers."""
    own = request_id_of(envelope.id) if envelope.kind is MessageKind.REPLY else envelope.id
    prefix = f"{envelope.conversation_id}.{envelope.flow}."
    return own.removeprefix(prefix) if own.startswith(prefix) else ""
