"""Raw results of single requests, stored next to the report as one JSON object per line."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

SAMPLES_FILE = "samples.jsonl"
"""Name of the file of samples in a report folder."""
ACCEPTED_STATUSES = frozenset({201, 202})
REFUSED_STATUSES = frozenset({429, 503})
UNCERTAIN_CODES = frozenset({"response_timeout", "unavailable"})
"""Codes of refusals after which the booking may have been made: booking waited too long, or lost the database while it
stored the booking. The rider repeats the request with its key. Every other refusal says that nothing was stored."""
OUT_OF_DESCRIPTORS = "out_of_descriptors"
"""Error of a request that was not sent, because the generator's process has no file descriptor left."""


class RefusalSample(msgspec.Struct, frozen=True, kw_only=True):
    """A response with status 429 or 503."""

    status: int
    at_s: float
    """Time of the response, in seconds from the intended time of the first attempt."""
    retry_after_s: float | None
    """Value of Retry-After; null if it was missing, which violates the API's contract."""
    reason: str
    """Code of the problem document, followed by the load signal at its limit if named."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One rider's request, with the same idempotency key at every attempt.

    ``status`` and ``error`` belong to the last attempt; exactly one of them is null, unless a 2xx body was unreadable.
    """

    scenario: str
    label: str
    ride: int
    key: str
    """Idempotency-Key, by which the three sources of the ledger are matched."""
    intended_at: datetime
    lag_ms: float
    """Delay of sending after the intended time, caused by the generator; included in ``response_ms``."""
    status: int | None
    error: str | None
    """``timeout``, ``connection``, ``unreadable`` or OUT_OF_DESCRIPTORS; null for any readable response."""
    reason: str = ""
    """Why the last attempt failed: the code of its problem document, or the name of the transport's error. Empty if
    it was accepted or refused with 429 or 503."""
    response_ms: float | None
    """Time from the intended time to the complete response, refusals included; null without a response."""
    booking_id: str | None
    named_state: str | None = None
    """State of the booking in the response; null if it was not accepted."""
    named_fare_cents: int | None = None
    """Fare in the response; null if it named none."""
    refusals: tuple[RefusalSample, ...] = ()
    """Refusals of all attempts, including the last one."""

    outcome: str | None = None
    """Outcome of the ride by all three sources; null until it is reconciled."""
    settled_ms: float | None = None
    """Time from the intended time to the decision; null if the ride was not answered."""
    notified_ms: float | None = None
    """Time from the intended time to the rider's notice; null if the ride was not answered or not notified."""

    @property
    def retries(self) -> int:
        """Number of attempts after the first one."""
        return max(0, len(self.refusals) - self.refused)

    @property
    def accepted(self) -> bool:
        """Whether the last attempt was accepted with 201 or 202."""
        return self.status in ACCEPTED_STATUSES

    @property
    def is_uncertain(self) -> bool:
        """Whether the last attempt was refused in a way that leaves open whether there is a booking."""
        return self.refused and bool(self.refusals) and self.refusals[-1].reason in UNCERTAIN_CODES

    @property
    def refused(self) -> bool:
        """Whether the last attempt was refused with 429 or 503."""
        return self.status in REFUSED_STATUSES

    @property
    def error_kind(self) -> str | None:
        """Key under which the report counts the failure: a transport error or ``http_<status>``; None if accepted."""
        return self.error or (None if self.accepted else f"http_{self.status}")


def key_prefix(run_id: str, scenario: str) -> str:
    """Return the prefix of all idempotency keys of a scenario."""
    return f"{run_id}-{scenario}-"


def idempotency_key(run_id: str, scenario: str, label: str, ride: int) -> str:
    """Return the idempotency key of a ride under the plan ``label``."""
    return f"{key_prefix(run_id, scenario)}{label}-{ride:05d}"


def encode_samples(samples: Iterable[Sample]) -> bytes:
    """Return the samples as JSON lines."""
    encoder = msgspec.json.Encoder()
    return b"".join(encoder.encode(sample) + b"\n" for sample in samples)
