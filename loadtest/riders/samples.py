"""What the generator saw of each request: raw, kept beside the report, one JSON object a line."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

ACCEPTED = frozenset({201, 202})
REFUSED = frozenset({429, 503})


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One request, made once. Exactly one of ``status`` and ``error`` is null, unless a 2xx body was unreadable."""

    scenario: str
    label: str
    ride: int
    key: str
    """The Idempotency-Key: what the three sources are matched by."""
    intended_at: datetime
    lag_ms: float
    """How much later than intended the request left: the generator's own fault, included in ``accept_ms``."""
    status: int | None
    error: str | None
    """``timeout``, ``connection`` or ``unreadable``."""
    accept_ms: float | None
    """From the intended moment until the whole response had arrived; null where none did."""
    booking_id: str | None

    @property
    def accepted(self) -> bool:
        return self.status in ACCEPTED

    @property
    def refused(self) -> bool:
        return self.status in REFUSED

    @property
    def trouble(self) -> str | None:
        """What the report counts under ``errors``: the transport's error, or the status of a refusal."""
        return self.error or (None if self.accepted else f"http_{self.status}")


def key_prefix(run: str, scenario: str) -> str:
    return f"{run}-{scenario}-"


def key(run: str, scenario: str, label: str, ride: int) -> str:
    return f"{key_prefix(run, scenario)}{label}-{ride:05d}"


def lines(samples: Iterable[Sample]) -> bytes:
    encoder = msgspec.json.Encoder()
    return b"".join(encoder.encode(sample) + b"\n" for sample in samples)
