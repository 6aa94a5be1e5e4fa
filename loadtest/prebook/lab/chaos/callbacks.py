"""Callbacks to riders' systems during a chaos run: what was received, and what must have been. Pure.

Every outcome of a booking is reported at least once. A report that arrives after a newer one needs a sequence number,
by which its receiver can tell.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from prebook.contracts.ride import SETTLED_STATES
from prebook.lab.chaos.violations import Violation, ViolationKind

SECRET_PREFIX = "whsec_"  # noqa: S105 - marks a secret, and is none
VERSION = "v1"
REFUSED_SHARE = 8
"""One in so many reports is refused with 503 at its first attempt: it must come again."""


class CallbackBody(msgspec.Struct, frozen=True):
    """The part of a callback that the judge reads."""

    booking_id: str
    outcome: str
    sequence: int | None = None
    """Number of the booking's state change, from 1."""


class ReceivedCallback(NamedTuple):
    """A callback as a rider's system got it. ``defect``: why the rider's system cannot trust it; empty if it can."""

    message_id: str
    received_at: datetime
    accepted: bool
    """Whether the response was a success."""
    booking_id: str = ""
    outcome: str = ""
    sequence: int | None = None
    defect: str = ""


def signature_defect(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    """Return what is wrong with the signature of a callback, or an empty text.

    Spelled out rather than imported, as a rider's system would do it. Source: Standard Webhooks, symmetric signatures.
    """
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not message_id or not timestamp:
        return "not signed"
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    expected = f"{VERSION},{base64.b64encode(digest).decode()}"
    given = headers.get("webhook-signature", "").split(" ")
    return "" if any(hmac.compare_digest(expected, signature) for signature in given) else "signed with another secret"


def read_callback(
    secret: str, headers: Mapping[str, str], body: bytes, received_at: datetime, *, accepted: bool
) -> ReceivedCallback:
    """Return a callback with what is wrong about it."""
    message_id = headers.get("webhook-id", "")
    try:
        report = msgspec.json.decode(body, type=CallbackBody)
    except msgspec.DecodeError as error:
        return ReceivedCallback(message_id, received_at, accepted, defect=f"unreadable ({error})")
    defect = signature_defect(secret, headers, body)
    return ReceivedCallback(
        message_id, received_at, accepted, report.booking_id, report.outcome, report.sequence, defect
    )


def is_refused_once(message_id: str) -> bool:
    """Return whether the rider's system refuses the first attempt at a report; drawn by a hash of its message id."""
    return hashlib.sha256(message_id.encode()).digest()[0] % REFUSED_SHARE == 0


def find_callback_violations(
    callbacks: Sequence[ReceivedCallback], histories: Mapping[str, Sequence[str]]
) -> Iterator[Violation]:
    """Yield the violations of the callbacks of all bookings. ``histories``: states of each booking, oldest first."""
    accepted: dict[str, list[ReceivedCallback]] = {}
    for callback in callbacks:
        if detail := callback.defect or outcome_defect(callback, histories.get(callback.booking_id, ())):
            subject = callback.booking_id or callback.message_id or "a callback"
            yield Violation(ViolationKind.CONTRADICTORY, subject, f"a callback is {detail}")
        elif callback.accepted:
            accepted.setdefault(callback.booking_id, []).append(callback)
    for booking, states in histories.items():
        yield from booking_violations(booking, states, accepted.get(booking, ()))


def outcome_defect(callback: ReceivedCallback, states: Sequence[str]) -> str:
    """Return how a callback contradicts the history of its booking, or an empty text."""
    if callback.outcome not in states:
        return f"about {callback.outcome}, and the booking's states are {', '.join(states) or 'unknown'}"
    position = states.index(callback.outcome) + 1
    if callback.sequence not in {None, position}:
        return f"about {callback.outcome} with sequence {callback.sequence} instead of {position}"
    return ""


def booking_violations(
    booking: str, states: Sequence[str], callbacks: Sequence[ReceivedCallback]
) -> Iterator[Violation]:
    """Yield the violations of one booking: a settled state without a report, several reports, or some out of order.

    Repetitions of one report have one message id, by which its receiver recognises them.
    """
    ids: dict[str, set[str]] = {}
    for callback in callbacks:
        ids.setdefault(callback.outcome, set()).add(callback.message_id)
    for state in states:
        if state in SETTLED_STATES and state not in ids:
            yield Violation(ViolationKind.LOST, booking, f"{state}, but no callback told the rider's system so")
    for outcome, reports in ids.items():
        if len(reports) > 1:
            detail = f"{len(reports)} callbacks with ids of their own told the rider's system that it is {outcome}"
            yield Violation(ViolationKind.DUPLICATED, booking, detail)
    newest = -1
    for callback in callbacks:
        position = states.index(callback.outcome)
        if position < newest and callback.sequence is None:
            detail = f"a callback about {callback.outcome} came after one about {states[newest]}, without a sequence"
            yield Violation(ViolationKind.MISORDERED, booking, detail)
        newest = max(newest, position)


def is_complete(callbacks: Sequence[ReceivedCallback], states: Mapping[str, str]) -> bool:
    """Return whether the last settled state of every booking was reported. ``states``: present state of each."""
    reported = {(callback.booking_id, callback.outcome) for callback in callbacks if callback.accepted}
    return all((booking, state) in reported for booking, state in states.items() if state in SETTLED_STATES)
