"""What is measured of one side of a burst: a value for each second, and one for each ride."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from prebook.lab.report.model import MachineInfo
from prebook.lab.suite_client.settings import StackInfo

SCHEMA = "prebook.burst/1"
SNAPSHOT_INTERVAL_S = 1.0
MEMORY_INTERVAL_S: Mapping[str, float] = {"database": 5.0}
"""How long its memory is not looked at again: 70 processes that share 128 MB of buffers take 70 ms of a core."""


class SuiteSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The suite as seen from outside at one moment. What could not be looked at is null, or missing in a mapping."""

    at_s: float
    """From the first intended arrival."""
    outbox_rows: int | None = None
    outbox_oldest_s: float | None = None
    """Of all services: messages that have not left, and the age of the oldest that may leave."""
    oldest_outbox: str = ""
    """The outbox and route of that one."""
    pending_requests: int | None = None
    pending_oldest_s: float | None = None
    """Questions without an answer, wherever they lie: outbox, queue or a provider's hands."""
    queued: int | None = None
    """Messages in the broker's queues, not counting those in hand, the archive and parking."""
    longest_queue: str = ""
    memory_mb: Mapping[str, float] = {}
    """Process -> its memory with all of its children's, shared pages divided among those who share them. What is dear
    to look at is looked at more seldom, and missing in between."""
    pressure: Mapping[str, float] = {}
    """Load -> its share of the limit, as booking's admission control sees it."""
    unsent: int | None = None
    """Publishes that the broker did not take, so far, all services together."""

    @property
    def oldest_age_s(self) -> float | None:
        """Age of the oldest message in an outbox, a queue or in hand."""
        known = [age for age in (self.outbox_oldest_s, self.pending_oldest_s) if age is not None]
        return max(known, default=None)


class RideRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One ride of the burst. Seconds from the first intended arrival."""

    label: str
    offered_s: float
    outcome: str
    accepted_s: float | None = None
    """When booking took it in."""
    settled_s: float | None = None
    refused_s: tuple[float, ...] = ()
    """When each 429 or 503 was heard."""
    retries: int = 0
    all_with_retry_after: bool = True
    """Every refusal carried a Retry-After."""
    accepted_on_first_retry: bool | None = None
    """Whether who was refused and came back at the told time got in at that visit; null for who never came back."""


class LoadLevel(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the ladder that finds the capacity."""

    offered_per_s: float
    settled_per_s: float
    duration_s: float


class BurstSide(msgspec.Struct, frozen=True, kw_only=True):
    """One burst, raw: everything that is said about it is computed from this."""

    schema: str = SCHEMA
    back_pressure: str
    seed: int
    capacity_per_s: float
    levels: tuple[LoadLevel, ...]
    """Empty where the capacity was given."""
    factor: float
    duration_s: float
    started_at: datetime
    stack: StackInfo
    machine: MachineInfo
    lag_p99_ms: float
    lag_max_ms: float
    snapshots: tuple[SuiteSnapshot, ...]
    rides: tuple[RideRecord, ...]
    refusals: Mapping[str, int]
    """``status reason`` -> how often it was said."""
    lost: int
    duplicated: int
    in_flight: int
    settle_s: float
    at_rest: bool = True
    """Nothing waited any more when the books were read; else what was not told yet is no loss."""
