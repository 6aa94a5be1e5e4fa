"""Envelopes to wire messages and back: CloudEvents 1.0 in binary mode, JSON bodies.

One spelling for AMQP and HTTP: lower-case headers beside an unwrapped body.
Source: CloudEvents 1.0, "binary content mode".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from prebook.contracts.message import Message
from prebook.contracts.plan import Plan
from prebook.flows import ANNOUNCEMENTS, CATALOGUE
from prebook.messaging.envelope import Envelope, Kind
from prebook.messaging.errors import Permanent
from prebook.messaging.plan_header import read_plan, spell
from prebook.patterns.message_groups import slot

LONGEST_BODY = 128 * 1024
"""Bytes. What is larger belongs behind a claim check, not into a message."""
SLOT = "prebook-slot"
"""Where a message group sorts it to; of the partition key alone."""
EXPIRES_AT = "prebook-expires-at"
SAFE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}\Z")


@dataclass(frozen=True, slots=True)
class Wire:
    """What a transport carries: text headers and an opaque body."""

    headers: Mapping[str, str]
    body: bytes


class Malformed(Permanent):
    """It can never be understood, however often it comes. ``cause`` is a stable word; the text says what is wrong."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


def type_of(body: type[Message]) -> str:
    """``FareQuoted`` -> ``prebook.fare_quoted.v1``."""
    return f"prebook.{re.sub(r'(?<!^)(?=[A-Z])', '_', body.__name__).lower()}.v1"


def _known() -> dict[str, type[Message]]:
    bodies: set[type[Message]] = {b for flow in CATALOGUE for b in (flow.request, *flow.replies)}
    return {type_of(body): body for body in bodies | {a.body for a in ANNOUNCEMENTS}}


def _expected() -> dict[tuple[Kind, str], frozenset[type[Message]]]:
    requests = {(Kind.REQUEST, f.name): frozenset({f.request}) for f in CATALOGUE}
    answers = {(Kind.ANSWER, f.name): frozenset(f.replies) for f in CATALOGUE}
    facts = {(Kind.FACT, a.name): frozenset({a.body}) for a in ANNOUNCEMENTS}
    return {**requests, **answers, **facts}


BODIES = _known()
EXPECTED = _expected()
_TYPES: dict[type[Message], str] = {body: name for name, body in BODIES.items()}
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {name: msgspec.json.Decoder(body) for name, body in BODIES.items()}
_ENCODER = msgspec.json.Encoder()


def encode(envelope: Envelope) -> Wire:
    """Once for each envelope, however many need it: the outbox, who sends it, and who asks whether it fits."""
    if envelope.spelled is None:
        object.__setattr__(envelope, "spelled", _encoded(envelope))
    return cast("Wire", envelope.spelled)


def _encoded(envelope: Envelope) -> Wire:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": envelope.id,
        "ce-type": _TYPES[type(envelope.body)],
        "ce-source": f"/prebook/{envelope.source}",
        "ce-subject": envelope.conversation,
        "ce-time": envelope.time.isoformat(),
        "ce-partitionkey": envelope.conversation,
        SLOT: str(slot(envelope.conversation)),
        "prebook-kind": envelope.kind.value,
        "prebook-flow": envelope.flow,
        "prebook-plan": spell(envelope.plan),
        "prebook-attempt": str(envelope.attempt),
        **_optional(envelope),
        **envelope.extra,
    }
    return Wire(headers, _ENCODER.encode(envelope.body))


def decode(wire: Wire) -> Envelope:
    """Raises Malformed; a message of an unknown version or flow is malformed to us."""
    must_fit(wire)
    return read(wire)


def must_fit(wire: Wire) -> None:
    """Raises Malformed where no receiver would take it."""
    if len(wire.body) > LONGEST_BODY:
        raise Malformed("too_large", f"the body has {len(wire.body)} bytes; {LONGEST_BODY} are allowed")


def read(wire: Wire) -> Envelope:
    """The same for what is our own and lies with us: it need not fit a transport."""
    headers = wire.headers
    kind, flow, body = _kind(headers), _need(headers, "prebook-flow"), _body(wire)
    if type(body) not in EXPECTED.get((kind, flow), frozenset()):
        raise Malformed("unexpected_type", f"{type(body).__name__} is no {kind.value} of {flow!r}")
    return Envelope(
        id=_safe(headers, "ce-id"),
        kind=kind,
        flow=flow,
        body=body,
        source=_need(headers, "ce-source").rpartition("/")[2],
        conversation=_safe(headers, "ce-subject"),
        time=_time(headers, "ce-time"),
        plan=_plan(headers),
        reply_to=headers.get("prebook-reply-to", ""),
        expires_at=_time(headers, EXPIRES_AT) if EXPIRES_AT in headers else None,
        attempt=_attempt(headers),
        traceparent=headers.get("traceparent", ""),
        extra={name: value for name, value in headers.items() if name.startswith("prebook-x-")},
    )


def as_spelled(wire: Wire) -> Envelope:
    """The same, to be sent as it is: it is not spelled anew."""
    envelope = read(wire)
    object.__setattr__(envelope, "spelled", wire)
    return envelope


def _plan(headers: Mapping[str, str]) -> Plan:
    try:
        return read_plan(_need(headers, "prebook-plan"))
    except ValueError as error:
        raise Malformed("bad_header", f"prebook-plan: {error}") from None


def _optional(envelope: Envelope) -> dict[str, str]:
    expires = envelope.expires_at.isoformat() if envelope.expires_at else ""
    pairs = {"prebook-reply-to": envelope.reply_to, EXPIRES_AT: expires, "traceparent": envelope.traceparent}
    return {name: value for name, value in pairs.items() if value}


def _need(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise Malformed("missing_header", f"header {name} is missing")
    return value


def _safe(headers: Mapping[str, str], name: str) -> str:
    value = _need(headers, name)
    if not SAFE_ID.match(value):
        raise Malformed("bad_header", f"header {name} must match {SAFE_ID.pattern}")
    return value


def _kind(headers: Mapping[str, str]) -> Kind:
    try:
        return Kind(_need(headers, "prebook-kind"))
    except ValueError:
        raise Malformed("bad_header", "prebook-kind is request, answer or fact") from None


def _time(headers: Mapping[str, str], name: str) -> datetime:
    try:
        at = datetime.fromisoformat(_need(headers, name))
    except ValueError:
        raise Malformed("bad_header", f"header {name} is no RFC 3339 time") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _attempt(headers: Mapping[str, str]) -> int:
    text = headers.get("prebook-attempt", "1")
    if not (text.isascii() and text.isdigit() and len(text) < 6):  # noqa: PLR2004 - a bound on digits, not a number of ours
        raise Malformed("bad_header", "prebook-attempt is a small positive number")
    return max(1, int(text))


def _body(wire: Wire) -> Message:
    name = _need(wire.headers, "ce-type")
    decoder = _DECODERS.get(name)
    if decoder is None:
        raise Malformed("unknown_type", f"{name} is no message type of this version")
    try:
        return cast("Message", decoder.decode(wire.body))
    except msgspec.DecodeError as error:
        cause = "wrong_schema" if isinstance(error, msgspec.ValidationError) else "bad_json"
        raise Malformed(cause, f"{name}: {error}") from None
    except RecursionError:
        raise Malformed("bad_json", f"{name}: nested too deeply") from None
