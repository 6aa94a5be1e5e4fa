"""What the generator saw of each request: raw, kept beside the report, one JSON object a line."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

ACCEPTED_STATUSES = frozenset({201, 202})
REFUSED_STATUSES = frozenset({429, 503})


class RefusalSample(msgspec.Struct, frozen=True, kw_only=True):
    """A 429 or 503."""

    status: int
    at_s: float
    """When it was heard, in seconds from the intended moment."""
    retry_after_s: float | None
    """What the rider was told; null where nothing was said, which is no way to refuse."""
    reason: str
    """Its problem's code, and what was full where that is said."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One rider's request, with the same key at every visit. Exactly one of ``status`` and ``error``, both of the last
    visit, is null, unless a 2xx body was unreadable."""

    scenario: str
    label: str
    ride: int
    key: str
    """The Idempotency-Key: what the three sources are matched by."""
    intended_at: datetime
    lag_ms: float
    """How much later than intended the request left: the generator's own fault, included in ``response_ms``."""
    status: int | None
    error: str | None
    """``timeout``, ``connection`` or ``unreadable``."""
    response_ms: float | None
    """From the intended moment until the whole response had arrived; null where none did."""
    booking_id: str | None
    refusals: tuple[RefusalSample, ...] = ()
    """Of all visits, the last one included where it was refused too."""

    outcome: str | None = None
    """What became of the ride, by all sources; null where only the request is known."""
    settled_ms: float | None = None
    notified_ms: float | None = None
    """From the intended moment until the business had answered, and until the rider knew; null where neither did."""

    @property
    def retries(self) -> int:
        """How often the rider came again."""
        return max(0, len(self.refusals) - self.refused)

    @property
    def accepted(self) -> bool:
        return self.status in ACCEPTED_STATUSES

    @property
    def refused(self) -> bool:
        return self.status in REFUSED_STATUSES

    @property
    def error_kind(self) -> str | None:
        """What the report counts under ``errors``: the transport's error, or the status of a refusal."""
        return self.error or (None if self.accepted else f"http_{self.status}")


def key_prefix(run_id: str, scenario: str) -> str:
    return f"{run_id}-{scenario}-"


def idempotency_key(run_id: str, scenario: str, label: str, ride: int) -> str:
    return f"{key_prefix(run_id, scenario)}{label}-{ride:05d}"


def encode_samples(samples: Iterable[Sample]) -> bytes:
    encoder = msgspec.json.Encoder()
    return b"".join(encoder.encode(sample) + b"\n" for sample in samples)
