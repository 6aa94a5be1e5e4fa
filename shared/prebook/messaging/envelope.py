"""Envelope: a message with its headers and delivery metadata. Source: EIP, Envelope Wrapper."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from prebook.contracts.message import Message
from prebook.contracts.plan import Coupling, Plan
from prebook.patterns.trace import NO_TRACE, TraceContext

JSON = "application/json"
_REPLY_SUFFIX = ".reply"


class MessageKind(StrEnum):
    """Kind of a message. Source: EIP, Command Message, Document Message (reply), Event Message."""

    REQUEST = "request"
    REPLY = "reply"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class EncodedBody:
    """Body of a message as a transport carries it."""

    type: str
    """CloudEvents type, which ends in the version."""
    data: bytes
    content_type: str = JSON
    """Media type of ``data``. Source: CloudEvents, ``datacontenttype``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """One message with what identifies, routes, expires and traces it."""

    id: str
    """Deduplication key, derived from the conversation and the request: a repeated request has the same id."""
    kind: MessageKind
    flow: str
    """Name of the flow, or of the event type if ``kind`` is EVENT."""
    body: Message
    source: str
    """Service that sent the message."""
    conversation_id: str
    """Correlation id of all messages of one ride: the booking id. Source: EIP, Correlation Identifier."""
    time: datetime
    """When the message was created, in UTC (CloudEvents ``time``)."""
    plan: Plan
    """Coupling of every flow of this conversation."""
    reply_to: str = ""
    """Address of the reply, set by the caller's channel and read by the provider's. Source: EIP, Return Address."""
    expires_at: datetime | None = None
    """When the caller stops waiting, in UTC; later the message is dropped. Source: EIP, Message Expiration."""
    attempt: int = 1
    """Number of the delivery attempt, from 1."""
    trace: TraceContext = NO_TRACE
    """Position in a trace. Source: W3C Trace Context."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Extension headers, carried along unread."""
    encoded_body: EncodedBody | None = field(default=None, compare=False, repr=False)
    """Body as it was received: it is stored and sent again with these bytes, unknown fields included. None: the codec
    encodes ``body``."""
    encoded: Any = field(init=False, default=None, compare=False, repr=False)
    """Wire form, cached by the codec. ``replace`` makes a copy without it."""

    @property
    def coupling(self) -> Coupling:
        """Coupling of the message. Events are one-way in every plan."""
        return Coupling.ONE_WAY if self.kind is MessageKind.EVENT else self.plan[self.flow]

    def reply_with(self, body: Message, *, source: str, at: datetime) -> Self:
        """Return the reply to this request, sent by ``source`` at the time ``at``.

        Its id is derived from the request's, so that only the first of several replies takes effect. Attempt and
        extension headers of the request are not copied.
        """
        reply = self.with_body(body)
        return replace(reply, kind=MessageKind.REPLY, id=reply_id(self.id), source=source, time=at, attempt=1, extra={})

    def with_body(self, body: Message) -> Self:
        """Return a copy with another body, which is encoded anew."""
        return replace(self, body=body, encoded_body=None)

    def with_reply_to(self, address: str) -> Self:
        """Return a copy with this return address."""
        return replace(self, reply_to=address)

    def next_attempt(self) -> Self:
        """Return a copy for the next delivery attempt."""
        return replace(self, attempt=self.attempt + 1)

    def expiring_by(self, time: datetime) -> Self:
        """Return a copy that expires at ``time`` at the latest."""
        return replace(self, expires_at=min(time, self.expires_at or time))

    def is_expired(self, now: datetime) -> bool:
        """Return whether the message has expired at ``now``."""
        return self.expires_at is not None and now >= self.expires_at


def reply_id(request_id: str) -> str:
    """Return the id of the reply to a request, the synthetic one included."""
    return f"{request_id}{_REPLY_SUFFIX}"


def request_id_of(reply_id: str) -> str:
    """Return the id of the request that a reply belongs to; the inverse of ``reply_id``."""
    return reply_id.removesuffix(_REPLY_SUFFIX)


def message_id(conversation_id: str, name: str, key: str = "") -> str:
    """Return the id of a request or event: one id per conversation, flow or event ``name``, and ``key``."""
    return ".".join(part for part in (conversation_id, name, key) if part)


def has_derived_id(envelope: Envelope) -> bool:
    """Return whether the id is one that is derived from the message's own conversation and flow.

    A message with the id of another conversation would take the place of that conversation's message in the inbox.
    """
    is_reply = envelope.kind is MessageKind.REPLY
    if is_reply and not envelope.id.endswith(_REPLY_SUFFIX):
        return False
    derived = message_id(envelope.conversation_id, envelope.flow)
    own_id = request_id_of(envelope.id) if is_reply else envelope.id
    return own_id == derived or own_id.startswith(f"{derived}.")


def request_key(envelope: Envelope) -> str:
    """Return the ``key`` that a message id was made with; for a reply, that of its request."""
    request_id = request_id_of(envelope.id) if envelope.kind is MessageKind.REPLY else envelope.id
    prefix = f"{envelope.conversation_id}.{envelope.flow}."
    return request_id.removeprefix(prefix) if request_id.startswith(prefix) else ""
