"""Codec between envelopes and wire messages: CloudEvents 1.0 in binary mode.

AMQP and HTTP carry the same encoding: lower-case headers and the unwrapped body.
Source: CloudEvents 1.0, "binary content mode".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from prebook.contracts.message import Message
from prebook.contracts.plan import Plan
from prebook.flows import ALL_FLOWS, EVENT_TYPE_BY_BODY, EVENT_TYPES, FLOWS, EventType, Flow
from prebook.messaging.body_codec import (
    BODY_TYPES,
    ce_types,
    decode_body,
    encode_body,
    format_of,
    register_body,
    unknown_type,
)
from prebook.messaging.envelope import JSON, EncodedBody, Envelope, MessageKind, has_derived_id
from prebook.messaging.errors import Malformed
from prebook.messaging.headers import (
    ATTEMPT_HEADER,
    BODY_BYTES_HEADER,
    BODY_DIGEST_HEADER,
    CONTENT_TYPE_HEADER,
    CONVERSATION_ID_HEADER,
    DATA_REFERENCE_HEADER,
    EXPIRES_AT_HEADER,
    EXTENSION_PREFIX,
    FLOW_HEADER,
    HASH_SLOT_HEADER,
    KIND_HEADER,
    MESSAGE_ID_HEADER,
    PARTITION_KEY_HEADER,
    PLAN_HEADER,
    REPLY_TO_HEADER,
    SOURCE_HEADER,
    SPEC_VERSION_HEADER,
    TIME_HEADER,
    TYPE_HEADER,
    UNDECODABLE_HEADER,
)
from prebook.messaging.plan_header import decode_plan, encode_plan
from prebook.messaging.routing_headers import routing_headers
from prebook.patterns.claim_check import MAX_CHECKED_BYTES, REFERENCE_PATTERN, ClaimCheck
from prebook.patterns.message_groups import hash_slot
from prebook.patterns.trace import TraceContext

MAX_BODY_BYTES = 128 * 1024
"""Size limit of a message body, in bytes. A larger one needs a claim check (``messaging.claim_checks``)."""
CHECKED_BODIES_PATH = "/checked-bodies"
"""Path of the stored bodies at the internal listener of their sender."""
UNDECODABLE_CAUSE = "undecodable"
"""Cause of a message with properties or headers that the transport's client could not decode."""
MAX_SIZE_DIGITS = len(str(MAX_CHECKED_BYTES))
SAFE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}\Z")
"""Form of message and conversation ids, safe in URLs, headers and logs."""


@dataclass(frozen=True, slots=True)
class WireMessage:
    """Message as a transport carries it: text headers and an opaque body."""

    headers: Mapping[str, str]
    body: bytes


EXPECTED_BODY_TYPES: dict[tuple[MessageKind, str], frozenset[type[Message]]] = {}
"""Body classes that a message may have, by message kind and flow (or event name)."""


def register(entry: Flow[Any, Any] | EventType[Any]) -> None:
    """Add a flow or event type to the catalogue, so that its messages can be sent and received.

    A project registers its own before it assembles services. Raises ValueError, and adds nothing, if another flow,
    event type or message has the name.
    """
    expected = _bodies_by_kind_and_name(entry)
    body_types = {name: body for bodies in expected.values() for body in bodies for name in ce_types(body)}
    if _is_taken(entry) or any(EXPECTED_BODY_TYPES.get(key, bodies) != bodies for key, bodies in expected.items()):
        raise ValueError(f"{entry.name!r}: another flow or event type has this name or body")
    for name, body in body_types.items():
        if BODY_TYPES.get(name, body) is not body:
            raise ValueError(f"{name!r} is the type of another message")
    if isinstance(entry, Flow):
        FLOWS[entry.name] = entry
    else:
        EVENT_TYPE_BY_BODY[entry.body_type] = entry
    EXPECTED_BODY_TYPES.update(expected)
    for body in set(body_types.values()):
        register_body(body)


def _is_taken(entry: Flow[Any, Any] | EventType[Any]) -> bool:
    """Return whether another flow has the name, or another event type the body."""
    if isinstance(entry, Flow):
        return FLOWS.get(entry.name, entry) != entry
    return EVENT_TYPE_BY_BODY.get(entry.body_type, entry) != entry


def _bodies_by_kind_and_name(
    entry: Flow[Any, Any] | EventType[Any],
) -> dict[tuple[MessageKind, str], frozenset[type[Message]]]:
    if isinstance(entry, EventType):
        return {(MessageKind.EVENT, entry.name): frozenset({entry.body_type})}
    return {
        (MessageKind.REQUEST, entry.name): frozenset({entry.request_type}),
        (MessageKind.REPLY, entry.name): frozenset(entry.possible_reply_types),
    }


for _flow in ALL_FLOWS:
    register(_flow)
for _event_type in EVENT_TYPES:
    register(_event_type)


def encode(envelope: Envelope) -> WireMessage:
    """Encode an envelope. The result is cached in it: the outbox, the channel and the size check share one encoding."""
    if envelope.encoded is None:
        object.__setattr__(envelope, "encoded", _encode(envelope))
    return cast("WireMessage", envelope.encoded)


def _encode(envelope: Envelope) -> WireMessage:
    body = envelope.body
    check = body if isinstance(body, ClaimCheck) else None
    encoded = envelope.encoded_body or (
        EncodedBody(check.type, b"", check.content_type) if check else encode_body(body)
    )
    headers = {
        SPEC_VERSION_HEADER: "1.0",
        MESSAGE_ID_HEADER: envelope.id,
        TYPE_HEADER: encoded.type,
        SOURCE_HEADER: f"/prebook/{envelope.source}",
        CONVERSATION_ID_HEADER: envelope.conversation_id,
        TIME_HEADER: envelope.time.isoformat(),
        PARTITION_KEY_HEADER: envelope.conversation_id,
        HASH_SLOT_HEADER: str(hash_slot(envelope.conversation_id)),
        KIND_HEADER: envelope.kind.value,
        FLOW_HEADER: envelope.flow,
        PLAN_HEADER: encode_plan(envelope.plan),
        ATTEMPT_HEADER: str(envelope.attempt),
        **_optional_headers(envelope),
        **routing_headers(envelope.body),
        **(_check_headers(check) if check else {}),
        **({} if encoded.content_type == JSON else {CONTENT_TYPE_HEADER: encoded.content_type}),
        **envelope.extra,
    }
    return WireMessage(headers, encoded.data)


def _check_headers(check: ClaimCheck) -> dict[str, str]:
    return {
        DATA_REFERENCE_HEADER: f"{CHECKED_BODIES_PATH}/{check.reference}",
        BODY_BYTES_HEADER: str(check.size_bytes),
        BODY_DIGEST_HEADER: check.sha256,
    }


def decode(message: WireMessage) -> Envelope:
    """Decode a received message. One without a valid trace context starts a trace.

    Raises Malformed: wrong headers or body, unknown version or flow, larger than ``MAX_BODY_BYTES``, with fields that
    the transport's client could not decode, or with the id of another conversation's message.
    """
    check_size(message)
    if UNDECODABLE_HEADER in message.headers:
        raise Malformed(UNDECODABLE_CAUSE, f"fields that no client can decode: {message.headers[UNDECODABLE_HEADER]}")
    envelope = decode_stored(message)
    if not has_derived_id(envelope):
        raise Malformed(
            "foreign_id", f"header {MESSAGE_ID_HEADER} is not derived from {CONVERSATION_ID_HEADER} and flow"
        )
    return envelope if envelope.trace.traceparent else replace(envelope, trace=envelope.trace.child())


def check_size(message: WireMessage) -> None:
    """Raise Malformed if the body is larger than ``MAX_BODY_BYTES``, which every receiver refuses."""
    if len(message.body) > MAX_BODY_BYTES:
        raise Malformed("too_large", f"the body has {len(message.body)} bytes; {MAX_BODY_BYTES} are allowed")


def decode_stored(message: WireMessage) -> Envelope:
    """Decode a message from this service's own database, of any size. Raises Malformed."""
    headers = message.headers
    kind = _kind(headers)
    flow = _require(headers, FLOW_HEADER)
    type_ = _require(headers, TYPE_HEADER)
    # A body takes precedence over its reference: an operator may have put it into a parked message.
    is_checked = not message.body and DATA_REFERENCE_HEADER in headers
    format_ = format_of(headers.get(CONTENT_TYPE_HEADER) or JSON)
    body = _claim_check(type_, headers, format_) if is_checked else decode_body(type_, message.body, format_)
    if BODY_TYPES[type_] not in EXPECTED_BODY_TYPES.get((kind, flow), frozenset()):
        raise Malformed("unexpected_type", f"{BODY_TYPES[type_].__name__} is not a {kind.value} of {flow!r}")
    return Envelope(
        id=_require_safe_id(headers, MESSAGE_ID_HEADER),
        kind=kind,
        flow=flow,
        body=body,
        encoded_body=EncodedBody(type_, message.body, format_),
        source=_require(headers, SOURCE_HEADER).rpartition("/")[2],
        conversation_id=_require_safe_id(headers, CONVERSATION_ID_HEADER),
        time=_time(headers, TIME_HEADER),
        plan=_plan(headers),
        reply_to=headers.get(REPLY_TO_HEADER, ""),
        expires_at=_time(headers, EXPIRES_AT_HEADER) if EXPIRES_AT_HEADER in headers else None,
        attempt=_attempt(headers),
        trace=TraceContext.of(headers),
        extra={name: value for name, value in headers.items() if name.startswith(EXTENSION_PREFIX)},
    )


def decode_verbatim(message: WireMessage) -> Envelope:
    """Decode a stored message that is to be sent again unchanged: ``encode`` returns ``message``. Raises Malformed."""
    envelope = decode_stored(message)
    object.__setattr__(envelope, "encoded", message)
    return envelope


def _plan(headers: Mapping[str, str]) -> Plan:
    try:
        return decode_plan(_require(headers, PLAN_HEADER))
    except ValueError as error:
        raise Malformed("bad_header", f"{PLAN_HEADER}: {error}") from None


def _optional_headers(envelope: Envelope) -> dict[str, str]:
    expires_at = envelope.expires_at.isoformat() if envelope.expires_at else ""
    pairs = {REPLY_TO_HEADER: envelope.reply_to, EXPIRES_AT_HEADER: expires_at, **envelope.trace.headers}
    return {name: value for name, value in pairs.items() if value}


def _require(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise Malformed("missing_header", f"header {name} is missing")
    return value


def _require_safe_id(headers: Mapping[str, str], name: str) -> str:
    value = _require(headers, name)
    if not SAFE_ID.match(value):
        raise Malformed("bad_header", f"header {name} must match {SAFE_ID.pattern}")
    return value


def _kind(headers: Mapping[str, str]) -> MessageKind:
    try:
        return MessageKind(_require(headers, KIND_HEADER))
    except ValueError:
        raise Malformed("bad_header", f"header {KIND_HEADER} must be request, reply or event") from None


def _time(headers: Mapping[str, str], name: str) -> datetime:
    """Return a time in UTC. One whose year in UTC is not from 1 to 9999 can be neither stored nor compared."""
    try:
        time = datetime.fromisoformat(_require(headers, name))
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Malformed("bad_header", f"header {name} must be an RFC 3339 time of the years 1 to 9999") from None


def _attempt(headers: Mapping[str, str]) -> int:
    text = headers.get(ATTEMPT_HEADER, "1")
    if not (text.isascii() and text.isdigit() and len(text) < 6):  # noqa: PLR2004 - bounds the digits that int() parses
        raise Malformed("bad_header", f"header {ATTEMPT_HEADER} must be a positive number below 100000")
    return max(1, int(text))


def _claim_check(type_: str, headers: Mapping[str, str], format_: str) -> ClaimCheck:
    if type_ not in BODY_TYPES:
        raise unknown_type(type_)
    path, _, reference = headers[DATA_REFERENCE_HEADER].rpartition("/")
    size = headers.get(BODY_BYTES_HEADER, "")
    digest = headers.get(BODY_DIGEST_HEADER, "")
    is_size = size.isascii() and size.isdigit() and len(size) <= MAX_SIZE_DIGITS and int(size) <= MAX_CHECKED_BYTES
    if path != CHECKED_BODIES_PATH or not REFERENCE_PATTERN.match(reference):
        raise Malformed("bad_header", f"header {DATA_REFERENCE_HEADER} must be {CHECKED_BODIES_PATH}/ and a SHA-256")
    if not is_size or not REFERENCE_PATTERN.match(digest):
        raise Malformed("bad_header", f"{BODY_BYTES_HEADER} and {BODY_DIGEST_HEADER} must be a size and a SHA-256")
    return ClaimCheck(type=type_, reference=reference, size_bytes=int(size), sha256=digest, content_type=format_)
