"""Raw results of a campaign: all that its report is computed from, kept beside it in one compressed file."""

import lzma
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from prebook.contracts.auctions import AuctionEntry
from prebook.contracts.booking import DeliveryEntry, LedgerEntry
from prebook.devstack.errors import UserError
from prebook.lab.faults import FaultWindow
from prebook.lab.load.samples import Sample
from prebook.lab.report.model import ArrivalsLine, FaultLine, MachineInfo
from prebook.lab.suite_client.settings import StackInfo

RAW_FILE = "raw.json.xz"
RAW_SCHEMA = "prebook.raw/1"
MAX_RAW_BYTES = 512 * 2**20
"""Largest uncompressed size that is read, in bytes."""


class RawUnreadable(UserError):
    """The raw results of a run are missing, damaged, or of another version."""


class RawScenario(msgspec.Struct, frozen=True, kw_only=True):
    """Raw result of one scenario, or of one level of the search for the capacity."""

    name: str
    expectation: str
    arrivals: ArrivalsLine
    started_at: datetime
    """Intended time of the start of the arrivals."""
    samples: tuple[Sample, ...]
    """The generator's results, in order of completion."""
    rows: tuple[LedgerEntry, ...]
    """Booking's rows with a key of the scenario."""
    deliveries: tuple[DeliveryEntry, ...]
    """Notification's deliveries for the bookings of ``rows``."""
    dead_lettered: tuple[str, ...] | None
    """Ids of bookings with a parked message; null if operations did not list them."""
    settle_s: float
    """Seconds from the last response until every ride was at rest, or until the time limit."""
    max_lag_ms: float
    """Limit of the generator's p99 lag in milliseconds."""
    fault: FaultLine | None = None
    fault_window: FaultWindow | None = None
    outage_is_bridged: bool = False
    capacity_factor: float | None = None
    """Offered rate as a multiple of the capacity; null if it is not."""
    back_pressure: bool = True
    is_capacity_level: bool = False
    counters: Mapping[str, float] = msgspec.field(default_factory=dict)
    """Series of the services' metrics -> by how much it has grown; empty if they could not be read."""


class UnmeasuredScenario(msgspec.Struct, frozen=True, kw_only=True):
    """A chosen scenario that this suite does not support."""

    name: str
    fault: str
    """Name of its fault; empty without one."""
    reason: str


class RawCampaign(msgspec.Struct, frozen=True, kw_only=True):
    """Raw results of a campaign, in the order in which the scenarios ran."""

    schema: str = RAW_SCHEMA
    run_id: str
    seed: int
    rate_per_s: float
    """Rides per second over all plans, where a scenario has no rate of its own."""
    scenario_duration_s: float
    """Duration of the arrivals of a standard scenario, in seconds."""
    commit: str
    started_at: datetime
    duration_s: float
    stack: StackInfo
    machine: MachineInfo
    scenario_order: tuple[str, ...]
    """Names of the chosen scenarios, including those that could not run."""
    scenarios: tuple[RawScenario, ...]
    unmeasured: tuple[UnmeasuredScenario, ...] = ()
    auctions: tuple[AuctionEntry, ...] | None = None
    """Auctions of matching; null if its address is unknown."""


def encode_raw(raw: RawCampaign) -> bytes:
    """Return the raw results as compressed JSON."""
    return lzma.compress(msgspec.json.encode(raw))


def read_raw(folder: Path) -> RawCampaign:
    """Return the raw results in ``folder``.

    Raises:
        RawUnreadable: The file is missing or damaged, or holds results of another version.
    """
    path = folder / RAW_FILE
    try:
        with lzma.open(path) as file:
            return decode_raw(file.read(MAX_RAW_BYTES + 1))
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        raise RawUnreadable(
            f"{path} holds no raw results ({error})",
            "give the report folder of a campaign; `prebook demo --report DIR` writes one",
        ) from error


def decode_raw(content: bytes) -> RawCampaign:
    """Return the raw results from uncompressed JSON. Raises ValueError if it is too large or of another version."""
    if len(content) > MAX_RAW_BYTES:
        raise ValueError(f"more than {MAX_RAW_BYTES} bytes")
    raw = msgspec.json.decode(content, type=RawCampaign)
    if raw.schema != RAW_SCHEMA:
        raise ValueError(f"the schema is {raw.schema}, expected {RAW_SCHEMA}")
    return raw
