"""Requests that repeat an Idempotency-Key, and the contract that their responses must keep. Pure.

One key makes one booking, and every response to it names that booking. A key with another body is refused with 422; 409
says that the first request is still running. Source: IETF draft, The Idempotency-Key HTTP Header Field.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from prebook.contracts.booking import BookingRequest
from prebook.flows import QUOTE_FARE
from prebook.lab.faults.effects import WAITING_COUPLINGS
from prebook.lab.ledger.accounts import group_by
from prebook.lab.load.generator import PreparedRequest
from prebook.lab.load.plans import PLANS
from prebook.lab.load.samples import ACCEPTED_STATUSES, REFUSED_STATUSES, UNCERTAIN_CODES, Sample

IN_PROGRESS_STATUS = 409
IN_PROGRESS = "in progress"
"""Error of a sample whose rider knows only that a request with the key is running."""
ACCEPTED_UNFINISHED_STATUS = 202
RESPONSE_LEASE_S = 12.0
"""Seconds within which booking stores the response to a first request, 10 by its clock, and a margin."""
LATE_RESPONSE_S = 7.5
"""Seconds after which booking answers a request that still runs with 202: 8, less a margin."""
REUSED_STATUS = 422
REUSED_CODE = "idempotency_key_reused"
REPEAT_SHARE = 0.2
"""Probability that a request is repeated with its key."""
MAX_LATE_DELAY_S = 8.0
"""Maximum delay of a repetition: it may meet another fault than the first request."""
MAX_CONCURRENT = 3
"""Maximum number of repetitions that are sent together with the first request."""


class RepetitionPlan(NamedTuple):
    """Repetitions of one request: ``concurrent`` at once, and one each after ``same_after_s`` and ``other_after_s``.

    ``same_after_s`` (same body) and ``other_after_s`` (another body) are seconds after the response, None: none.
    """

    concurrent: int = 0
    same_after_s: float | None = None
    other_after_s: float | None = None


NO_REPETITIONS = RepetitionPlan()


class Repetition(NamedTuple):
    """A repeated request and its response.

    ``status`` and ``booking_id``: None without a response or an id. ``named_state`` and ``named_fare_cents``: as in
    Sample.
    """

    key: str
    is_same_body: bool
    sent_at: datetime
    answered_at: datetime
    status: int | None
    booking_id: str | None = None
    code: str = ""
    """Code of the problem document of a response that accepted nothing."""
    error: str | None = None
    """Kind of the transport's error, as in Sample; None with a response."""
    named_state: str | None = None
    named_fare_cents: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether the response names a booking."""
        return self.status in ACCEPTED_STATUSES


def draw_repetitions(seed: int, ride: int, label: str) -> RepetitionPlan:
    """Draw the repetitions of a request; ``label``: plan of the ride. They depend on the arguments only."""
    rng = random.Random(f"repeat:{seed}:{ride}:{label}")
    if rng.random() >= REPEAT_SHARE:
        return NO_REPETITIONS
    delay_s = rng.uniform(0.0, MAX_LATE_DELAY_S)
    return rng.choice(
        (
            RepetitionPlan(concurrent=rng.randint(1, MAX_CONCURRENT)),
            RepetitionPlan(same_after_s=delay_s),
            RepetitionPlan(other_after_s=delay_s),
            RepetitionPlan(concurrent=1, same_after_s=delay_s, other_after_s=delay_s / 2),
        )
    )


def with_other_body(request: PreparedRequest) -> PreparedRequest:
    """Return a request with the same key for a ride one day later."""
    ride = msgspec.json.decode(request.body, type=BookingRequest)
    other = msgspec.structs.replace(ride, pickup_at=ride.pickup_at + timedelta(days=1))
    return replace(request, body=msgspec.json.encode(other))


def merge_attempts(samples: Iterable[Sample], repetitions: Sequence[Repetition]) -> tuple[Sample, ...]:
    """Return the samples with what their riders know after all attempts with the same body.

    A rider whose first request was refused or got no response may have been accepted later, and a rider who was refused
    may have another attempt without a response.
    """
    attempts = group_by((attempt for attempt in repetitions if attempt.is_same_body), lambda attempt: attempt.key)
    return tuple(merge_attempt(sample, attempts.get(sample.key, ())) for sample in samples)


def merge_attempt(sample: Sample, attempts: Sequence[Repetition]) -> Sample:
    """Return ``sample`` with the best knowledge of its rider: accepted, else unknown, else the first response."""
    if sample.accepted or not attempts:
        return sample
    for attempt in attempts:
        if attempt.accepted:
            return msgspec.structs.replace(
                sample, status=attempt.status, booking_id=attempt.booking_id, error=None, response_ms=sample.response_ms
            )
    statuses = {sample.status, *(attempt.status for attempt in attempts)}
    if statuses & {None, IN_PROGRESS_STATUS} or UNCERTAIN_CODES & {attempt.code for attempt in attempts}:
        return msgspec.structs.replace(sample, status=None, error=sample.error or IN_PROGRESS, response_ms=None)
    return sample


def contract_violations(
    sample: Sample, repetitions: Sequence[Repetition], booking_ids: Sequence[str], *, is_disturbed: bool = False
) -> Iterator[str]:
    """Yield the ways in which the responses to one key break the contract. ``booking_ids``: booking's rows of the key.

    ``sample``: the first request with its own response. ``is_disturbed``: whether a fault can have kept booking from
    storing its response.
    """
    named = {attempt.booking_id for attempt in repetitions if attempt.accepted and attempt.is_same_body}
    named |= {sample.booking_id} if sample.accepted else set()
    if len(named) > 1:
        yield f"the responses to one key name {len(named)} bookings: {', '.join(sorted(map(str, named)))}"
    elif named and named != set(booking_ids):
        yield f"the responses to a key name {named.pop()}, but booking has {', '.join(booking_ids) or 'no row'}"
    until = running_until(sample, repetitions, is_disturbed=is_disturbed)
    for attempt in repetitions:
        if detail := attempt_violation(attempt, until):
            yield detail


def attempt_violation(attempt: Repetition, until: datetime | None) -> str | None:
    """Return how one repeated request was answered wrongly, or None.

    ``until``: until when the first request may be running; None: its end is unknown.
    """
    status = attempt.status
    if status is None or status in REFUSED_STATUSES:
        return None
    if not attempt.is_same_body:
        is_refused = (status, attempt.code) == (REUSED_STATUS, REUSED_CODE)
        return None if is_refused else f"a used key with another body was answered with {status} {attempt.code}".strip()
    if status == IN_PROGRESS_STATUS and (until is None or attempt.sent_at <= until):
        return None
    if attempt.accepted:
        return None
    return f"a repeated request was answered with {status} {attempt.code}".strip()


def running_until(sample: Sample, repetitions: Iterable[Repetition], *, is_disturbed: bool) -> datetime | None:
    """Return until when the first request may be running: until a request with the key is accepted. None: none was.

    A ride with a synchronous first call may be answered with 202 before it has its result, late or because booking
    could not store its response (``is_disturbed``); its request then runs on, at most RESPONSE_LEASE_S from its start.
    """
    accepted = [
        (attempt.answered_at, attempt.status) for attempt in repetitions if attempt.accepted and attempt.is_same_body
    ]
    if sample.accepted and sample.response_ms is not None:
        accepted.append((sample.intended_at + timedelta(milliseconds=sample.response_ms), sample.status))
    if not accepted:
        return None
    answered_at, _ = min(accepted)
    is_late = answered_at >= sample.intended_at + timedelta(seconds=LATE_RESPONSE_S)
    calls_at_once = PLANS[sample.label][QUOTE_FARE.name] not in WAITING_COUPLINGS
    may_run_on = calls_at_once and (is_late or is_disturbed)
    if may_run_on and all(status == ACCEPTED_UNFINISHED_STATUS for _, status in accepted):
        return max(answered_at, sample.intended_at + timedelta(seconds=RESPONSE_LEASE_S))
    return answered_at


def repetitions_by_key(repetitions: Iterable[Repetition]) -> Mapping[str, Sequence[Repetition]]:
    """Return the repetitions of each key, in their order."""
    return group_by(repetitions, lambda attempt: attempt.key)
