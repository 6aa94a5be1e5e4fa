"""Scenarios of a campaign: arrivals, an optional fault, and the expected effect."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from prebook.lab.faults import FAULT_CATALOGUE as FAULTS
from prebook.lab.faults import TimedFault
from prebook.lab.load.arrivals import DEFAULT_SHAPE, ArrivalProcess, Arrivals, ArrivalShape, BurstWindow
from prebook.lab.load.retry_policy import NO_RETRIES, RiderRetryPolicy

QUICK_DURATION_S = 6.0
DEFAULT_DURATION_S = 25.0
DEFAULT_RATE_PER_S = 10.0
"""Ride requests per second over all plans: about half of the capacity of two cores, bursts included, so that the
campaign compares couplings and not the saturation of the machine."""
REPLAY_MARGIN_S = 0.001
"""Seconds added to a trace's duration, so that its last arrival lies within it."""
SETTLE_TIMEOUT_S = 330.0
"""Seconds to wait for open rides: longer than the flows' durable deadlines, which settle every stuck ride."""


@dataclass(frozen=True)
class Scenario:
    """One scenario of a campaign."""

    name: str
    process: ArrivalProcess
    expectation: str
    """Expected effect in one sentence, for the terminal and the report; nothing is computed from it."""
    burst: BurstWindow | None = None
    fault: TimedFault | None = None
    quick: bool = False
    """Whether a quick campaign includes the scenario."""
    duration_factor: float = 1.0
    """Duration of arrivals relative to a standard scenario; long enough to observe recovery while rides arrive."""
    shape: ArrivalShape = DEFAULT_SHAPE
    retries: RiderRetryPolicy = NO_RETRIES
    outage_is_bridged: bool = False
    """Whether the fault takes its target away for less than the deadlines, so that plans that wait for it must accept
    and answer every ride."""
    capacity_factor: float | None = None
    """Offered rate as a multiple of the capacity, which the campaign measures first; None for the campaign's rate."""
    back_pressure: bool = True
    """Whether the suite runs as it was started; False switches its back pressure off for the scenario."""
    load_name: str = ""
    """Name that, with the seed, determines rides and arrival times: scenarios with the same name offer the same load.
    Default: the scenario's own name."""

    @property
    def trace_duration_s(self) -> float | None:
        """Duration of a replayed trace in seconds; None for any other process."""
        return self.shape.trace[-1] + REPLAY_MARGIN_S if self.shape.trace else None

    def arrivals(self, rate_per_s: float, duration_s: float) -> Arrivals:
        """Return the arrivals at a base rate, for the duration in seconds of a standard scenario."""
        return Arrivals(self.process, rate_per_s, duration_s * self.duration_factor, self.burst, self.shape)


def fault_scenario(
    name: str,
    fault: str,
    expectation: str,
    *,
    duration_fraction: float,
    duration_factor: float,
    quick: bool = False,
    outage_is_bridged: bool = False,
) -> Scenario:
    """Return a scenario of the failure matrix; its fault starts after a fifth of the arrivals, ends before the last."""
    return Scenario(
        name,
        ArrivalProcess.POISSON,
        expectation,
        fault=TimedFault(FAULTS[fault], 0.2, duration_fraction),
        duration_factor=duration_factor,
        quick=quick,
        outage_is_bridged=outage_is_bridged,
    )


DEFAULT_RETRIES = RiderRetryPolicy(max_retries=3, patience_s=30.0)
OVERLOAD = "overload"
OVERLOAD_FACTOR = 3.0
"""Rate of an overload, as a multiple of the capacity."""


def overload_scenario(name: str, expectation: str, *, back_pressure: bool = True) -> Scenario:
    """Return a scenario that offers the same load beyond the capacity, with or without back pressure."""
    return Scenario(
        name,
        ArrivalProcess.POISSON,
        expectation,
        duration_factor=0.4,
        retries=DEFAULT_RETRIES,
        capacity_factor=OVERLOAD_FACTOR,
        back_pressure=back_pressure,
        load_name=OVERLOAD,
    )


def custom_scenario(process: ArrivalProcess, shape: ArrivalShape) -> Scenario:
    """Return a scenario with chosen arrivals and no fault, in which refused riders retry after ``Retry-After``."""
    return Scenario(process.value, process, f"Custom arrivals: {process}.", shape=shape, retries=DEFAULT_RETRIES)


ALL_SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "calm",
        ArrivalProcess.BURST,
        "No fault: all plans reach the same outcomes and differ only in latency.",
        burst=BurstWindow(start_fraction=0.5, duration_fraction=0.2, factor=2.0),
        quick=True,
    ),
    overload_scenario(
        OVERLOAD,
        "Three times the capacity: riders beyond it are refused with a Retry-After, and retry.",
    ),
    overload_scenario(
        "overload_unprotected",
        "The same load without back pressure: every ride is admitted and waits for all before it.",
        back_pressure=False,
    ),
    fault_scenario(
        "pricing_down",
        "kill_pricing",
        "Pricing is away for 30 s (a quick campaign: 7 s): plans that wait for it accept and settle every ride, later "
        "by about the outage; plans that call it synchronously refuse or fail rides.",
        duration_fraction=0.6,
        duration_factor=2.0,
        quick=True,
        outage_is_bridged=True,
    ),
    fault_scenario(
        "pricing_slow",
        "brownout_pricing",
        "Pricing gets a fifth of its CPU time: synchronous plans slow down with it, asynchronous ones settle later.",
        duration_fraction=0.4,
        duration_factor=0.7,
    ),
    fault_scenario(
        "matching_paused",
        "pause_matching",
        "Matching is stopped with its connections open: HTTP callers wait for a timeout, senders of messages do not.",
        duration_fraction=0.3,
        duration_factor=0.7,
        quick=True,
    ),
    fault_scenario(
        "connections_cut",
        "connections_cut",
        "All connections to the broker are closed: messages are sent again, and duplicates have no effect.",
        duration_fraction=0.2,
        duration_factor=0.6,
        quick=True,
    ),
    fault_scenario(
        "broker_restart",
        "broker_restart",
        "The broker restarts: outboxes keep its messages during this time, HTTP calls continue.",
        duration_fraction=0.1,
        duration_factor=1.3,
    ),
    fault_scenario(
        "memory_alarm",
        "memory_alarm",
        "The broker raises a memory alarm and blocks publishers: outboxes grow, consumers and HTTP calls continue.",
        duration_fraction=0.3,
        duration_factor=0.6,
    ),
    fault_scenario(
        "duplicates",
        "duplicate_everything",
        "Every broker message is delivered twice: it takes effect once, and the inbox discards the second.",
        duration_fraction=0.4,
        duration_factor=0.6,
    ),
    fault_scenario(
        "database_restart",
        "database_restart",
        "The database restarts: no plan accepts rides during this time, and committed work continues afterwards.",
        duration_fraction=0.1,
        duration_factor=0.9,
    ),
)
SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in ALL_SCENARIOS}


def select_scenarios(names: Collection[str], *, quick: bool) -> tuple[Scenario, ...]:
    """Return the named scenarios; without names all of them, or the quick ones if ``quick``."""
    return tuple(
        scenario for scenario in ALL_SCENARIOS if (scenario.name in names if names else scenario.quick or not quick)
    )
