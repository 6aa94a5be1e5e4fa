"""What is noted of a parked message, whatever it looks like."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prebook.messaging.headers import (
    ATTEMPT_HEADER,
    CAUSE_HEADER,
    CONVERSATION_ID_HEADER,
    DEAD_LETTER_ID_HEADER,
    ERROR_HEADER,
    EXCHANGE_HEADER,
    EXPIRES_AT_HEADER,
    FIRST_FAILED_AT_HEADER,
    FLOW_HEADER,
    KIND_HEADER,
    MESSAGE_ID_HEADER,
    REPLAY_ID_HEADER,
    ROUTING_KEY_HEADER,
    STACK_DIGEST_HEADER,
    TIME_HEADER,
    TYPE_HEADER,
    is_delivery_header,
)
from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.operations.dead_letters.failure_group import error_type_of, group_of
from prebook.patterns.trace import trace_id

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""Bytes of a payload; no message of ours may have more than a sixtieth of that."""
MAX_ATTEMPTS = 1_000_000
"""More have not been made; whoever says so is mistaken."""
DEAD_LETTERED_BY_BROKER = "dead_lettered"
UNKNOWN_CAUSE = "unknown"
UNREADABLE_CAUSE = "unreadable"
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class DeadLetterRecord:
    """One parked message, and how it came to be here this time."""

    fingerprint: str
    """The same message at the same queue, and no other."""
    occurrence_id: str
    """The same parking of it, and no other: the broker may hand that over more than once."""
    queue: str
    exchange: str = ""
    routing_key: str = ""
    cause: str = UNKNOWN_CAUSE
    error_type: str = ""
    error: str = ""
    failure_group: str = ""
    flow: str = ""
    kind: str = ""
    type: str = ""
    message_id: str = ""
    conversation_id: str = ""
    trace_id: str = ""
    attempts: int = 1
    occurred_at: datetime | None = None
    first_failed_at: datetime
    last_failed_at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: bytes = b""
    payload_bytes: int = 0
    replay_id: str = ""
    dead_letter_id: int = 0
    """With ``replay_id``: which message of which replay this says it is."""


def record_of(dead_letter: DeadLetter, now: datetime) -> DeadLetterRecord:
    headers = {storable_text(name): storable_text(value) for name, value in dead_letter.headers.items()}
    get = headers.get
    queue, (cause, error) = indexable_text(dead_letter.queue), _cause_and_error(dead_letter, headers)
    exchange, key = _first_target(dead_letter, headers)
    last = _clamp_time(now, dead_letter.parked_at if CAUSE_HEADER in headers else _dead_lettered_at(dead_letter)) or now
    attempts, replay = _attempts(dead_letter, headers), get(REPLAY_ID_HEADER, "")
    digest = group_of(
        queue=queue, type_=get(TYPE_HEADER, ""), cause=cause, error=error, stack=get(STACK_DIGEST_HEADER, "")
    )
    return DeadLetterRecord(
        fingerprint=fingerprint(dead_letter),
        occurrence_id=_hash(cause, str(attempts), last.isoformat(timespec="seconds"), replay),
        queue=queue,
        exchange=exchange,
        routing_key=key,
        cause=indexable_text(cause),
        error_type=indexable_text(error_type_of(error)),
        error=error,
        failure_group=digest,
        flow=indexable_text(get(FLOW_HEADER, "")),
        kind=indexable_text(get(KIND_HEADER, "")),
        type=indexable_text(get(TYPE_HEADER, "")),
        message_id=indexable_text(get(MESSAGE_ID_HEADER, "")),
        conversation_id=indexable_text(get(CONVERSATION_ID_HEADER, "")),
        trace_id=trace_id(get("traceparent", "")),
        attempts=attempts,
        occurred_at=_clamp_time(now, _parse_time(get(TIME_HEADER, ""))),
        first_failed_at=min(_clamp_time(now, _parse_time(get(FIRST_FAILED_AT_HEADER, ""))) or last, last),
        last_failed_at=last,
        headers=headers,
        payload=dead_letter.body[:MAX_PAYLOAD_BYTES],
        payload_bytes=len(dead_letter.body),
        replay_id=replay,
        dead_letter_id=_parse_int(get(DEAD_LETTER_ID_HEADER, "")),
    )


def is_expired_request(dead_letter: DeadLetter, now: datetime) -> bool:
    """A question whose time was up in its queue: its caller has gone on, and nothing is to be decided.

    What a replay has sent is told to the replay all the same.
    """
    headers, until = dead_letter.headers, _parse_time(dead_letter.headers.get(EXPIRES_AT_HEADER, ""))
    by_time = (
        bool(dead_letter.x_deaths)
        and dead_letter.x_deaths[0].reason == "expired"
        and dead_letter.x_deaths[0].queue == dead_letter.queue
    )
    aside = CAUSE_HEADER in headers or REPLAY_ID_HEADER in headers
    return by_time and not aside and headers.get(KIND_HEADER) == "request" and until is not None and until <= now


def minimal_record(dead_letter: DeadLetter, now: datetime, error: str) -> DeadLetterRecord:
    """As little as can be told; for a message that could not be noted in any other way."""
    return DeadLetterRecord(
        fingerprint=fingerprint(dead_letter),
        occurrence_id="bare",
        queue=indexable_text(ascii(dead_letter.queue)),
        cause=UNREADABLE_CAUSE,
        error=ascii(error)[:300],
        failure_group=group_of(queue=ascii(dead_letter.queue), type_="", cause=UNREADABLE_CAUSE, error=""),
        first_failed_at=now,
        last_failed_at=now,
        headers={ascii(name)[1:-1]: ascii(value)[1:-1] for name, value in dead_letter.headers.items()},
        payload=dead_letter.body[:MAX_PAYLOAD_BYTES],
        payload_bytes=len(dead_letter.body),
    )


def fingerprint(dead_letter: DeadLetter) -> str:
    """Return the identity of one message at one queue. Headers that describe a delivery are not part of it."""
    headers = sorted(
        (name, value)
        for name, value in dead_letter.headers.items()
        if not is_delivery_header(name) and name != ATTEMPT_HEADER
    )
    return _hash(dead_letter.queue, repr(headers), hashlib.sha256(dead_letter.body).hexdigest())


def storable_text(text: str) -> str:
    """What a column of text can hold."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def indexable_text(text: str) -> str:
    """For a column that is searched by: one more character than an id may have tells that there were too many."""
    return text.replace("\x00", "?").encode("ascii", "replace").decode()[:201]


def _cause_and_error(dead_letter: DeadLetter, headers: Mapping[str, str]) -> tuple[str, str]:
    if CAUSE_HEADER in headers:
        return headers[CAUSE_HEADER], headers.get(ERROR_HEADER, "")
    if not dead_letter.x_deaths:
        return UNKNOWN_CAUSE, "it came here without a cause"
    death = dead_letter.x_deaths[0]
    return (
        DEAD_LETTERED_BY_BROKER,
        f"the broker set it aside: {storable_text(death.reason)}, at {storable_text(death.queue)}",
    )


def _first_target(dead_letter: DeadLetter, headers: Mapping[str, str]) -> tuple[str, str]:
    """The first address that anything tells of."""
    if headers.get(EXCHANGE_HEADER):
        return headers[EXCHANGE_HEADER], headers.get(ROUTING_KEY_HEADER, "")
    if dead_letter.x_deaths:
        return storable_text(dead_letter.x_deaths[-1].exchange), storable_text(dead_letter.x_deaths[-1].routing_key)
    return "", ""


def _attempts(dead_letter: DeadLetter, headers: Mapping[str, str]) -> int:
    told = (_parse_int(headers.get(ATTEMPT_HEADER, "")), *(death.count for death in dead_letter.x_deaths))
    return min(max(1, *told), MAX_ATTEMPTS)


def _dead_lettered_at(dead_letter: DeadLetter) -> datetime | None:
    return dead_letter.x_deaths[0].at if dead_letter.x_deaths else dead_letter.parked_at


def _clamp_time(now: datetime, at: datetime | None) -> datetime | None:
    return max(EARLIEST, min(at, now)) if at else None


def _parse_time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _parse_int(text: str) -> int:
    """0 where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0  # noqa: PLR2004 - what a bigint holds


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
