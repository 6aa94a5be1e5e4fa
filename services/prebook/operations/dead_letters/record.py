"""Record of a dead letter: what operations stores of a message, whatever its form."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prebook.messaging import addresses
from prebook.messaging.codec import UNDECODABLE_CAUSE
from prebook.messaging.errors import ForbiddenSender, error_summary
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
    HISTORY_HEADER,
    KIND_HEADER,
    MESSAGE_ID_HEADER,
    REPLAY_ID_HEADER,
    ROUTING_KEY_HEADER,
    TIME_HEADER,
    TRACEBACK_DIGEST_HEADER,
    TYPE_HEADER,
    UNDECODABLE_HEADER,
    is_delivery_header,
)
from prebook.messaging.recoverability.dead_letter import DELIVERY_LIMIT, DeadLetter
from prebook.operations.dead_letters.failure_group import error_type_of, group_of
from prebook.patterns.trace import trace_id

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""Stored bytes of a payload: far more than the codec lets a message of the suite have."""
MAX_ATTEMPTS = 1_000_000
"""Larger attempt numbers can only come from a wrong header."""
DEAD_LETTERED_BY_BROKER = "dead_lettered"
KILLS_CONSUMER = "delivery_limit"
"""Reason in ``x-death``, and cause of a message that was returned more often than its queue allows: it kills its
consumer."""
UNKNOWN_CAUSE = "unknown"
UNREADABLE_CAUSE = "unreadable"
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
"""Lower limit of stored times: a header may hold a year that the database cannot."""
NOT_IN_FINGERPRINT = (ATTEMPT_HEADER, HISTORY_HEADER)
"""Headers of the message that differ from one delivery to the next."""
MAX_BIGINT_DIGITS = 18
MAX_INDEXED_CHARS = 201
"""One more than an id may have, so that a cut id is never a usable one."""


@dataclass(frozen=True, kw_only=True)
class DeadLetterRecord:
    """One dead letter, with the occurrence that parked it."""

    fingerprint: str
    """Identity of one message at one queue."""
    occurrence_id: str
    """Identity of one parking of the message, which the broker may deliver more than once."""
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
    """Size of the whole payload; ``payload`` may be cut to MAX_PAYLOAD_BYTES."""
    replay_id: str = ""
    """With ``dead_letter_id``: the redelivery that failed again, according to the message's headers."""
    dead_letter_id: int = 0


def record_of(dead_letter: DeadLetter, now: datetime, refusal: ForbiddenSender | None = None) -> DeadLetterRecord:
    """Return the record of a dead letter that was read at ``now``.

    ``refusal``: why its sender may not send it, if so; what the message says of its failure then counts for nothing.
    """
    headers = {storable_text(name): storable_text(value) for name, value in dead_letter.headers.items()}
    get = headers.get
    queue = indexable_text(dead_letter.queue)
    cause, error = (refusal.cause, error_summary(refusal)) if refusal else _cause_and_error(dead_letter, headers)
    exchange, routing_key = _first_target(dead_letter, headers)
    parked_at = dead_letter.parked_at if CAUSE_HEADER in headers else _dead_lettered_at(dead_letter)
    last_failed_at = _clamp_time(now, parked_at) or now
    first_failed_at = _clamp_time(now, _parse_time(get(FIRST_FAILED_AT_HEADER, ""))) or last_failed_at
    attempts = _attempts(dead_letter, headers)
    # A message of a forbidden sender is no redelivery of a replay, whatever it says.
    replay_id = get(REPLAY_ID_HEADER, "") if cause != ForbiddenSender.cause else ""
    return DeadLetterRecord(
        fingerprint=fingerprint(dead_letter),
        occurrence_id=_hash(cause, str(attempts), last_failed_at.isoformat(timespec="seconds"), replay_id),
        queue=queue,
        exchange=exchange,
        routing_key=routing_key,
        cause=indexable_text(cause),
        error_type=indexable_text(error_type_of(error)),
        error=error,
        failure_group=group_of(
            queue=queue,
            type_=get(TYPE_HEADER, ""),
            cause=cause,
            error=error,
            traceback_digest=get(TRACEBACK_DIGEST_HEADER, ""),
        ),
        flow=indexable_text(get(FLOW_HEADER, "")),
        kind=indexable_text(get(KIND_HEADER, "")),
        type=indexable_text(get(TYPE_HEADER, "")),
        message_id=indexable_text(get(MESSAGE_ID_HEADER, "")),
        conversation_id=indexable_text(get(CONVERSATION_ID_HEADER, "")),
        trace_id=trace_id(get("traceparent", "")),
        attempts=attempts,
        occurred_at=_clamp_time(now, _parse_time(get(TIME_HEADER, ""))),
        first_failed_at=min(first_failed_at, last_failed_at),
        last_failed_at=last_failed_at,
        headers=headers,
        payload=dead_letter.body[:MAX_PAYLOAD_BYTES],
        payload_bytes=len(dead_letter.body),
        replay_id=replay_id,
        dead_letter_id=_parse_int(get(DEAD_LETTER_ID_HEADER, "")),
    )


def is_expired_request(dead_letter: DeadLetter, now: datetime) -> bool:
    """Return whether the broker dead-lettered a request because its deadline passed in the queue.

    Its caller has gone on without a reply, so there is nothing for an operator to decide. A request that was parked by
    its consumer or sent by a replay is kept nevertheless.
    """
    headers = dead_letter.headers
    expires_at = _parse_time(headers.get(EXPIRES_AT_HEADER, ""))
    has_expired_in_queue = (
        bool(dead_letter.x_deaths)
        and dead_letter.x_deaths[0].reason == "expired"
        and addresses.belongs_to(dead_letter.x_deaths[0].queue, dead_letter.queue)
    )
    is_kept = CAUSE_HEADER in headers or REPLAY_ID_HEADER in headers
    is_request = headers.get(KIND_HEADER) == "request"
    return has_expired_in_queue and not is_kept and is_request and expires_at is not None and expires_at <= now


def minimal_record(dead_letter: DeadLetter, now: datetime, error: str) -> DeadLetterRecord:
    """Return a record in ASCII only, for a dead letter whose full record cannot be made or stored.

    ``error``: why not.
    """
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
        if not is_delivery_header(name) and name not in NOT_IN_FINGERPRINT
    )
    return _hash(dead_letter.queue, repr(headers), hashlib.sha256(dead_letter.body).hexdigest())


def edited_headers(headers: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return ``headers`` with ``changes`` applied; a None value removes the header."""
    return {name: value for name, value in {**headers, **changes}.items() if value is not None}


def storable_text(text: str) -> str:
    """Return ``text`` without the characters that a PostgreSQL text column cannot hold."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def indexable_text(text: str) -> str:
    """Return ``text`` as at most MAX_INDEXED_CHARS characters of ASCII, for an indexed column."""
    return text.replace("\x00", "?").encode("ascii", "replace").decode()[:MAX_INDEXED_CHARS]


def _cause_and_error(dead_letter: DeadLetter, headers: Mapping[str, str]) -> tuple[str, str]:
    if CAUSE_HEADER in headers:
        return headers[CAUSE_HEADER], headers.get(ERROR_HEADER, "")
    if UNDECODABLE_HEADER in headers:
        return UNDECODABLE_CAUSE, f"no client can decode {headers[UNDECODABLE_HEADER]}"
    if not dead_letter.x_deaths:
        return UNKNOWN_CAUSE, "the message has no cause header and no x-death"
    death = dead_letter.x_deaths[0]
    if death.reason == KILLS_CONSUMER:
        return KILLS_CONSUMER, f"delivery limit: its consumer died {DELIVERY_LIMIT + 1} times"
    return (
        DEAD_LETTERED_BY_BROKER,
        f"the broker dead-lettered it in {storable_text(death.queue)}: {storable_text(death.reason)}",
    )


def _first_target(dead_letter: DeadLetter, headers: Mapping[str, str]) -> tuple[str, str]:
    """Return exchange and routing key of the first publication, from our headers or the oldest x-death."""
    if headers.get(EXCHANGE_HEADER):
        return headers[EXCHANGE_HEADER], headers.get(ROUTING_KEY_HEADER, "")
    if dead_letter.x_deaths:
        return storable_text(dead_letter.x_deaths[-1].exchange), storable_text(dead_letter.x_deaths[-1].routing_key)
    return "", ""


def _attempts(dead_letter: DeadLetter, headers: Mapping[str, str]) -> int:
    counts = [_parse_int(headers.get(ATTEMPT_HEADER, "")), *(death.count for death in dead_letter.x_deaths)]
    if CAUSE_HEADER not in headers and any(death.reason == KILLS_CONSUMER for death in dead_letter.x_deaths):
        counts.append(DELIVERY_LIMIT + 1)
    return min(max(1, *counts), MAX_ATTEMPTS)


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
    """Return the number, or 0 if ``text`` is not a number or may not fit a bigint."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_BIGINT_DIGITS else 0


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
