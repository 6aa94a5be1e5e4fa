"""What a campaign plays: arrivals, a fault or none, and what there is to see."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from prebook.lab.faults import FAULT_CATALOGUE as FAULTS
from prebook.lab.faults import TimedFault
from prebook.lab.load.arrivals import DEFAULT_SHAPE, ArrivalProcess, Arrivals, ArrivalShape, BurstWindow
from prebook.lab.load.retry_policy import NO_RETRIES, RiderRetryPolicy

QUICK_DURATION_S = 6.0
DEFAULT_DURATION_S = 25.0
DEFAULT_RATE_PER_S = 10.0
"""Offered rides a second, all plans together: about half of what two cores can do, the burst included, so that what is
compared is the couplings and not how full the machine is."""
REPLAY_MARGIN_S = 0.001
"""The last arrival of a trace lies within its duration."""
SETTLE_TIMEOUT_S = 45.0
"""How long a scenario may take to come to rest: longer than the flows' durable deadlines, which end what hangs."""


@dataclass(frozen=True)
class Scenario:
    name: str
    process: ArrivalProcess
    expectation: str
    """One sentence for the terminal and the report; nothing is computed from it."""
    burst: BurstWindow | None = None
    fault: TimedFault | None = None
    quick: bool = False
    """Also played where there is little time."""
    duration_factor: float = 1.0
    """Of its arrivals, in those of a usual scenario: a plan's return can only be seen while rides are offered."""
    shape: ArrivalShape = DEFAULT_SHAPE
    retries: RiderRetryPolicy = NO_RETRIES

    @property
    def trace_duration_s(self) -> float | None:
        """Of a replay: as long as it is. None: as long as any other."""
        return self.shape.trace[-1] + REPLAY_MARGIN_S if self.shape.trace else None

    def arrivals(self, rate_per_s: float, duration_s: float) -> Arrivals:
        return Arrivals(self.process, rate_per_s, duration_s * self.duration_factor, self.burst, self.shape)


def fault_scenario(
    name: str, fault: str, expectation: str, *, duration_fraction: float, duration_factor: float, quick: bool = False
) -> Scenario:
    """A scenario of the failure matrix: the fault comes once a few rides are in, and goes while more are offered."""
    return Scenario(
        name,
        ArrivalProcess.POISSON,
        expectation,
        fault=TimedFault(FAULTS[fault], 0.2, duration_fraction),
        duration_factor=duration_factor,
        quick=quick,
    )


DEFAULT_RETRIES = RiderRetryPolicy(max_retries=3, patience_s=30.0)


def custom_scenario(process: ArrivalProcess, shape: ArrivalShape) -> Scenario:
    """Arrivals of somebody's choice, with nothing broken; whoever is refused comes back when told."""
    return Scenario(process.value, process, f"Rides arrive as chosen: {process}.", shape=shape, retries=DEFAULT_RETRIES)


ALL_SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "calm",
        ArrivalProcess.BURST,
        "Nothing is broken: every plan comes to the same outcomes, and they differ only in who waits for how long.",
        burst=BurstWindow(start_fraction=0.5, duration_fraction=0.2, factor=2.0),
        quick=True,
    ),
    Scenario(
        "overload",
        ArrivalProcess.BURST,
        "Four times the rides for ten seconds: where that is too much, who is refused is told when to come back.",
        burst=BurstWindow(start_fraction=0.1, duration_fraction=0.84, factor=4.0),
        duration_factor=0.48,
        retries=DEFAULT_RETRIES,
    ),
    fault_scenario(
        "pricing_down",
        "kill_pricing",
        "Pricing is killed and comes back: who needs it at once fails, who can wait settles everything afterwards.",
        duration_fraction=0.3,
        duration_factor=1.5,
        quick=True,
    ),
    fault_scenario(
        "pricing_slow",
        "brownout_pricing",
        "Pricing gets little of the processor: who waits for it inherits its pace, who does not only finishes later.",
        duration_fraction=0.4,
        duration_factor=0.7,
    ),
    fault_scenario(
        "matching_paused",
        "pause_matching",
        "Matching stands still with its connections open: who calls it waits for a time-out, who sends to it does not.",
        duration_fraction=0.3,
        duration_factor=0.7,
        quick=True,
    ),
    fault_scenario(
        "connections_cut",
        "connections_cut",
        "All connections to the broker are closed: who uses it sends again, and what came twice has no second effect.",
        duration_fraction=0.2,
        duration_factor=0.6,
        quick=True,
    ),
    fault_scenario(
        "broker_restart",
        "broker_restart",
        "The broker stops and starts again: outboxes keep what it cannot take, calls by HTTP go on without it.",
        duration_fraction=0.1,
        duration_factor=1.3,
    ),
    fault_scenario(
        "memory_alarm",
        "memory_alarm",
        "The broker is short of memory and takes nothing in: consumers go on, outboxes grow, calls by HTTP go on.",
        duration_fraction=0.3,
        duration_factor=0.6,
    ),
    fault_scenario(
        "duplicates",
        "duplicate_everything",
        "Every message of the broker comes twice: each has one effect, and the second costs a look into the inbox.",
        duration_fraction=0.4,
        duration_factor=0.6,
    ),
    fault_scenario(
        "database_restart",
        "database_restart",
        "The database stops and starts again: no plan takes rides meanwhile, and what was committed goes on then.",
        duration_fraction=0.1,
        duration_factor=0.9,
    ),
)
SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in ALL_SCENARIOS}


def select_scenarios(names: Collection[str], *, quick: bool) -> tuple[Scenario, ...]:
    """Those named; where none is, all of them, or the quick ones."""
    return tuple(each for each in ALL_SCENARIOS if (each.name in names if names else each.quick or not quick))
