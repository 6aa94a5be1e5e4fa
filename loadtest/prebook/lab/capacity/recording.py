"""Measurement of one machine: cost of a ride, knee, and the seconds of a burst, as one file."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from prebook.devstack.errors import UserError
from prebook.lab.bench.subjects.ride_baseline import RideBaseline

SCHEMA = "prebook.capacity/1"
RECORDING_FILE = Path(__file__).parents[4] / "docs" / "results" / "capacity-recording.json"
"""Measurement whose burst is replayed unless another file is named."""


class QueueSample(msgspec.Struct, frozen=True, array_like=True):
    """State of a queue in the management API, or of all partitions of a message group together."""

    ready: int
    unacknowledged: int
    published_per_s: float
    delivered_per_s: float


class RecordedSecond(msgspec.Struct, frozen=True, omit_defaults=True):
    """One second of a burst."""

    offered: int
    accepted: int
    settled: int
    oldest_s: float | None = None
    """Age of the oldest pending request; null if the database did not answer in time."""
    queues: Mapping[str, QueueSample] = {}
    """Queues with messages or traffic, by address."""


class RecordedBurst(msgspec.Struct, frozen=True, kw_only=True):
    """A burst: rides at one rate, and the seconds until all of them were settled."""

    rides_per_s: float
    duration_s: int
    seconds: tuple[RecordedSecond, ...]

    @property
    def settled_per_s(self) -> float:
        """Rides settled per second of the burst."""
        return sum(second.settled for second in self.seconds[: self.duration_s]) / self.duration_s

    @property
    def oldest_s(self) -> float:
        """Highest known age of the oldest request."""
        return max((second.oldest_s for second in self.seconds if second.oldest_s is not None), default=0.0)


class CapacityRecording(msgspec.Struct, frozen=True, kw_only=True):
    """Measurement of one machine under one plan."""

    schema: str = SCHEMA
    commit: str
    plan: str
    cores: int
    """Cores of the machine, which runs suite, broker, database and load generator."""
    costs: RideBaseline
    """Costs by plan, as ``prebook bench --only ride --save-baseline`` writes them."""
    generator_ms: float
    """CPU time per ride of the load generator, which uses the same cores, at the lower rate."""
    generator_busy_ms: float | None = None
    """The same at the higher rate; null in files that an earlier version wrote."""
    knee_limit: str
    """Rate of the step above the knee, and why it failed."""
    burst: RecordedBurst


def read_recording(path: Path) -> CapacityRecording:
    """Read a recording. Raises UserError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=CapacityRecording)
    except (OSError, msgspec.DecodeError) as error:
        remedy = f"record one: prebook capacity check --output {path}"
        raise UserError(f"{path} is no recording: {error}", remedy) from error


def encode_recording(recording: CapacityRecording) -> bytes:
    """Return the contents of a recording's file: one line for each second of the burst."""
    lines = (msgspec.json.encode(second).decode() for second in recording.burst.seconds)
    head = msgspec.structs.replace(recording, burst=msgspec.structs.replace(recording.burst, seconds=()))
    text = msgspec.json.format(msgspec.json.encode(head).decode(), indent=2)
    return (text.replace('"seconds": []', '"seconds": [\n' + ",\n".join(lines) + "\n    ]") + "\n").encode()
