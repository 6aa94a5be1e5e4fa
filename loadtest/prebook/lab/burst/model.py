"""Measurements of one side of a burst comparison: one snapshot per second and one record per ride."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from prebook.lab.report.model import LoadLevel, MachineInfo
from prebook.lab.suite_client.settings import StackInfo

SCHEMA = "prebook.burst/1"
SNAPSHOT_INTERVAL_S = 1.0
MEMORY_INTERVAL_S: Mapping[str, float] = {"database": 5.0}
"""Seconds between memory readings of processes that are read less often than every snapshot. The database is 70
processes that share 128 MB of buffers; one reading takes 70 ms of a core."""


class SuiteSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Backlog, queues and memory of the suite at one moment. A value that could not be read is null or missing."""

    at_s: float
    """Seconds from the first intended arrival."""
    outbox_rows: int | None = None
    """Unsent messages in the outboxes of all services."""
    outbox_oldest_s: float | None = None
    """Age of the oldest unsent message that is due, in seconds."""
    oldest_outbox: str = ""
    """Service and route of the oldest unsent message."""
    pending_requests: int | None = None
    """Requests whose reply is awaited, whether they are in an outbox, in a queue or with a provider."""
    pending_oldest_s: float | None = None
    """Age of the oldest pending request, in seconds."""
    queued: int | None = None
    """Messages ready in the broker's queues, without unacknowledged ones, the archive and parking."""
    longest_queue: str = ""
    """Name of the queue with the most messages."""
    memory_mb: Mapping[str, float] = {}
    """Proportional set size of each process with its descendants, in megabytes. A process that is read less often
    (MEMORY_INTERVAL_S) is missing in between."""
    utilization: Mapping[str, float] = {}
    """Each load that booking's admission control measures, as a share of its limit."""
    refused_publishes: int | None = None
    """Publishes that the broker refused so far, summed over all services."""

    @property
    def oldest_age_s(self) -> float | None:
        """Age in seconds of the oldest message in an outbox, in a queue or with a consumer; None if unknown."""
        known = [age for age in (self.outbox_oldest_s, self.pending_oldest_s) if age is not None]
        return max(known, default=None)


class RideRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One ride of the burst. Times are seconds from the first intended arrival."""

    label: str
    """Plan of the ride."""
    offered_s: float
    """Intended time of the first request."""
    outcome: str
    """Value of a RideOutcome."""
    accepted_s: float | None = None
    """Acceptance by booking; null if never accepted."""
    settled_s: float | None = None
    """Settlement by booking; null if not settled."""
    refused_s: tuple[float, ...] = ()
    """Receipt of each response with status 429 or 503."""
    failure: str = ""
    """Kind and reason of a last response that neither accepted nor refused, such as ``http_409 request_in_progress`` or
    ``timeout TimeoutError``; empty for any other ride."""
    without_retry_after: tuple[str, ...] = ()
    """Status and reason of each refusal without a Retry-After header."""
    retries: int = 0
    """Requests after the first one."""
    all_with_retry_after: bool = True
    """Whether every refusal carried a Retry-After header."""
    accepted_on_first_retry: bool | None = None
    """Whether the first retry, sent after the Retry-After, was accepted; null without a retry."""


class BurstSide(msgspec.Struct, frozen=True, kw_only=True):
    """Raw measurements of one burst, from which the report computes all figures."""

    schema: str = SCHEMA
    back_pressure: str
    """``on`` or ``off``."""
    seed: int
    capacity_per_s: float
    levels: tuple[LoadLevel, ...]
    """Levels of the capacity search; empty if the capacity was given."""
    factor: float
    """Offered rate as a multiple of the capacity."""
    duration_s: float
    started_at: datetime
    stack: StackInfo
    machine: MachineInfo
    lag_p99_ms: float
    """99th percentile of the delay between intended and actual send time."""
    lag_max_ms: float
    """Maximum of the same delay."""
    clock_deviation_s: float = 0.0
    """Largest contradiction between the load generator's clock and the services' clocks."""
    snapshots: tuple[SuiteSnapshot, ...]
    rides: tuple[RideRecord, ...]
    refusals: Mapping[str, int]
    """Number of refusals by ``status reason``."""
    lost: int
    """Discrepancies between the sources in which a ride or a notice is missing."""
    duplicated: int
    """Discrepancies in which a ride or a notice took effect twice."""
    in_flight: int
    """Rides without an outcome at the end."""
    settle_s: float
    """Seconds waited after the last ride was offered."""
    at_rest: bool = True
    """Whether no message or reply was outstanding at the end. If not, a missing notice may still come."""
