"""What is noted of a parked message, whatever it looks like."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prebook.messaging.codec import EXPIRES_AT
from prebook.messaging.recoverability import dead_letter
from prebook.messaging.recoverability.dead_letter import Parcel
from prebook.operations.dead_letters.failure_group import group_of, type_of
from prebook.patterns.trace import trace_id

LONGEST_KEPT = 8 * 1024 * 1024
"""Bytes of a payload; no message of ours may have more than a sixtieth of that."""
MOST_ATTEMPTS = 1_000_000
"""More have not been made; whoever says so is mistaken."""
DIED = "dead_lettered"
UNKNOWN = "unknown"
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Noted:
    """One parked message, and how it came to be here this time."""

    fingerprint: str
    """The same message at the same queue, and no other."""
    event: str
    """The same parking of it, and no other: the broker may hand that over more than once."""
    queue: str
    exchange: str = ""
    key: str = ""
    cause: str = UNKNOWN
    error_type: str = ""
    error: str = ""
    digest: str = ""
    flow: str = ""
    kind: str = ""
    type: str = ""
    message_id: str = ""
    conversation: str = ""
    trace_id: str = ""
    attempts: int = 1
    said_at: datetime | None = None
    first_failed_at: datetime
    last_failed_at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: bytes = b""
    payload_bytes: int = 0
    replay_id: str = ""
    parked_id: int = 0
    """With ``replay_id``: which message of which replay this says it is."""


def noted(parcel: Parcel, now: datetime) -> Noted:
    headers = {clean(name): clean(value) for name, value in parcel.headers.items()}
    get = headers.get
    queue, (cause, error) = short(parcel.queue), _why(parcel, headers)
    exchange, key = _origin(parcel, headers)
    last = _not_after(now, parcel.set_aside_at if dead_letter.CAUSE in headers else _died_at(parcel)) or now
    attempts, replay = _attempts(parcel, headers), get(dead_letter.REPLAY, "")
    digest = group_of(queue=queue, type_=get("ce-type", ""), cause=cause, error=error, stack=get(dead_letter.STACK, ""))
    return Noted(
        fingerprint=fingerprint(parcel),
        event=_hash(cause, str(attempts), last.isoformat(timespec="seconds"), replay),
        queue=queue,
        exchange=exchange,
        key=key,
        cause=short(cause),
        error_type=short(type_of(error)),
        error=error,
        digest=digest,
        flow=short(get("prebook-flow", "")),
        kind=short(get("prebook-kind", "")),
        type=short(get("ce-type", "")),
        message_id=short(get("ce-id", "")),
        conversation=short(get("ce-subject", "")),
        trace_id=trace_id(get("traceparent", "")),
        attempts=attempts,
        said_at=_not_after(now, _time(get("ce-time", ""))),
        first_failed_at=min(_not_after(now, _time(get(dead_letter.FAILED_AT, ""))) or last, last),
        last_failed_at=last,
        headers=headers,
        payload=parcel.body[:LONGEST_KEPT],
        payload_bytes=len(parcel.body),
        replay_id=replay,
        parked_id=_number(get(dead_letter.PARKED, "")),
    )


def unwaited(parcel: Parcel, now: datetime) -> bool:
    """A question whose time was up in its queue: its caller has gone on, and nothing is to be decided.

    What a replay has sent is told to the replay all the same.
    """
    headers, until = parcel.headers, _time(parcel.headers.get(EXPIRES_AT, ""))
    by_time = bool(parcel.deaths) and parcel.deaths[0].reason == "expired" and parcel.deaths[0].queue == parcel.queue
    aside = dead_letter.CAUSE in headers or dead_letter.REPLAY in headers
    return by_time and not aside and headers.get("prebook-kind") == "request" and until is not None and until <= now


def bare(parcel: Parcel, now: datetime, why: str) -> Noted:
    """As little as can be told; for a message that could not be noted in any other way."""
    return Noted(
        fingerprint=fingerprint(parcel),
        event="bare",
        queue=short(ascii(parcel.queue)),
        cause="not_understood",
        error=ascii(why)[:300],
        digest=group_of(queue=ascii(parcel.queue), type_="", cause="not_understood", error=""),
        first_failed_at=now,
        last_failed_at=now,
        headers={ascii(name)[1:-1]: ascii(value)[1:-1] for name, value in parcel.headers.items()},
        payload=parcel.body[:LONGEST_KEPT],
        payload_bytes=len(parcel.body),
    )


def fingerprint(parcel: Parcel) -> str:
    """Of what was said, and where it failed. What is noted on the way does not count."""
    said = sorted((name, value) for name, value in parcel.headers.items() if not passing(name))
    return _hash(parcel.queue, repr(said), hashlib.sha256(parcel.body).hexdigest())


def passing(name: str) -> bool:
    """A header that says how the message travelled, and nothing of what it says."""
    return name in dead_letter.MARKS or name.startswith("x-") or name == "prebook-attempt"


def clean(text: str) -> str:
    """What a column of text can hold."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def short(text: str) -> str:
    """For a column that is searched by: one more character than an id may have tells that there were too many."""
    return text.replace("\x00", "?").encode("ascii", "replace").decode()[:201]


def _why(parcel: Parcel, headers: Mapping[str, str]) -> tuple[str, str]:
    if dead_letter.CAUSE in headers:
        return headers[dead_letter.CAUSE], headers.get(dead_letter.ERROR, "")
    if not parcel.deaths:
        return UNKNOWN, "it came here without a cause"
    death = parcel.deaths[0]
    return DIED, f"the broker set it aside: {clean(death.reason)}, at {clean(death.queue)}"


def _origin(parcel: Parcel, headers: Mapping[str, str]) -> tuple[str, str]:
    """The first address that anything tells of."""
    if headers.get(dead_letter.EXCHANGE):
        return headers[dead_letter.EXCHANGE], headers.get(dead_letter.KEY, "")
    if parcel.deaths:
        return clean(parcel.deaths[-1].exchange), clean(parcel.deaths[-1].key)
    return "", ""


def _attempts(parcel: Parcel, headers: Mapping[str, str]) -> int:
    told = (_number(headers.get("prebook-attempt", "")), *(death.count for death in parcel.deaths))
    return min(max(1, *told), MOST_ATTEMPTS)


def _died_at(parcel: Parcel) -> datetime | None:
    return parcel.deaths[0].at if parcel.deaths else parcel.set_aside_at


def _not_after(now: datetime, at: datetime | None) -> datetime | None:
    return max(EARLIEST, min(at, now)) if at else None


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _number(text: str) -> int:
    """0 where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0  # noqa: PLR2004 - what a bigint holds


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
