"""What a campaign plays: arrivals, a fault or none, and what there is to see."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from prebook.lab.faults import CATALOGUE as FAULTS
from prebook.lab.faults import Timed
from prebook.lab.load.arrivals import PLAIN, Arrivals, Burst, Process, Shape
from prebook.lab.load.retry_policy import NEVER, Returns

QUICK_S = 6.0
FULL_S = 25.0
DEFAULT_RATE = 10.0
"""Offered rides a second, all plans together: about half of what two cores can do, the burst included, so that what is
compared is the couplings and not how full the machine is."""
REPLAY_MARGIN_S = 0.001
"""The last arrival of a trace lies within its duration."""
SETTLE_DEADLINE_S = 45.0
"""How long a scenario may take to come to rest: longer than the flows' durable deadlines, which end what hangs."""


@dataclass(frozen=True)
class Scenario:
    name: str
    process: Process
    expect: str
    """One sentence for the terminal and the report; nothing is computed from it."""
    burst: Burst | None = None
    fault: Timed | None = None
    quick: bool = False
    """Also played where there is little time."""
    length: float = 1.0
    """Of its arrivals, in those of a usual scenario: a plan's return can only be seen while rides are offered."""
    shape: Shape = PLAIN
    returns: Returns = NEVER

    @property
    def usual_s(self) -> float | None:
        """Of a replay: as long as it is. None: as long as any other."""
        return self.shape.trace[-1] + REPLAY_MARGIN_S if self.shape.trace else None

    def arrivals(self, rate_per_s: float, duration_s: float) -> Arrivals:
        return Arrivals(self.process, rate_per_s, duration_s * self.length, self.burst, self.shape)


def broken(name: str, fault: str, expect: str, *, lasts: float, length: float, quick: bool = False) -> Scenario:
    """A scenario of the failure matrix: the fault comes once a few rides are in, and goes while more are offered."""
    return Scenario(name, Process.POISSON, expect, fault=Timed(FAULTS[fault], 0.2, lasts), length=length, quick=quick)


COME_BACK = Returns(most=3, patience_s=30.0)


def by_hand(process: Process, shape: Shape) -> Scenario:
    """Arrivals of somebody's choice, with nothing broken; whoever is refused comes back when told."""
    return Scenario(process.value, process, f"Rides arrive as chosen: {process}.", shape=shape, returns=COME_BACK)


CATALOGUE: tuple[Scenario, ...] = (
    Scenario(
        "calm",
        Process.BURST,
        "Nothing is broken: every plan comes to the same outcomes, and they differ only in who waits for how long.",
        burst=Burst(starts=0.5, lasts=0.2, factor=2.0),
        quick=True,
    ),
    Scenario(
        "overload",
        Process.BURST,
        "Four times the rides for ten seconds: where that is too much, who is refused is told when to come back.",
        burst=Burst(starts=0.1, lasts=0.84, factor=4.0),
        length=0.48,
        returns=COME_BACK,
    ),
    broken(
        "pricing_down",
        "kill_pricing",
        "Pricing is killed and comes back: who needs it at once fails, who can wait settles everything afterwards.",
        lasts=0.3,
        length=1.5,
        quick=True,
    ),
    broken(
        "pricing_slow",
        "brownout_pricing",
        "Pricing gets little of the processor: who waits for it inherits its pace, who does not only finishes later.",
        lasts=0.4,
        length=0.7,
    ),
    broken(
        "matching_paused",
        "pause_matching",
        "Matching stands still with its connections open: who calls it waits for a time-out, who sends to it does not.",
        lasts=0.3,
        length=0.7,
        quick=True,
    ),
    broken(
        "connections_cut",
        "connections_cut",
        "All connections to the broker are closed: who uses it sends again, and what came twice has no second effect.",
        lasts=0.2,
        length=0.6,
        quick=True,
    ),
    broken(
        "broker_restart",
        "broker_restart",
        "The broker stops and starts again: outboxes keep what it cannot take, calls by HTTP go on without it.",
        lasts=0.1,
        length=1.3,
    ),
    broken(
        "memory_alarm",
        "memory_alarm",
        "The broker is short of memory and takes nothing in: consumers go on, outboxes grow, calls by HTTP go on.",
        lasts=0.3,
        length=0.6,
    ),
    broken(
        "duplicates",
        "duplicate_everything",
        "Every message of the broker comes twice: each has one effect, and the second costs a look into the inbox.",
        lasts=0.4,
        length=0.6,
    ),
    broken(
        "database_restart",
        "database_restart",
        "The database stops and starts again: no plan takes rides meanwhile, and what was committed goes on then.",
        lasts=0.1,
        length=0.9,
    ),
)
SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in CATALOGUE}


def chosen(names: Collection[str], *, quick: bool) -> tuple[Scenario, ...]:
    """Those named; where none is, all of them, or the quick ones."""
    return tuple(each for each in CATALOGUE if (each.name in names if names else each.quick or not quick))
