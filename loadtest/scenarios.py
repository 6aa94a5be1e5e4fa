"""What a campaign plays: arrivals, a fault or none, and what there is to see."""

from collections.abc import Mapping
from dataclasses import dataclass

from loadtest.arrivals import Arrivals, Burst, Process
from loadtest.faults import CATALOGUE as FAULTS
from loadtest.faults import Timed

QUICK_S = 8.0
FULL_S = 30.0
DEFAULT_RATE = 10.0
"""Offered rides a second, all plans together: about half of what two cores can do, the burst included, so that what is
compared is the couplings and not how full the machine is."""
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
    length: float = 1.0
    """Of its arrivals, in those of a usual scenario: a plan's return can only be seen while rides are offered."""

    def arrivals(self, rate_per_s: float, duration_s: float) -> Arrivals:
        return Arrivals(self.process, rate_per_s, duration_s * self.length, self.burst)


CATALOGUE: tuple[Scenario, ...] = (
    Scenario(
        "calm",
        Process.BURST,
        "Nothing is broken: every plan comes to the same outcomes, and they differ only in who waits for how long.",
        burst=Burst(starts=0.5, lasts=0.2, factor=2.0),
    ),
    Scenario(
        "pricing_down",
        Process.POISSON,
        "Pricing is killed and comes back: who needs it at once fails, who can wait settles everything afterwards.",
        fault=Timed(FAULTS["kill_pricing"], starts=0.2, lasts=0.3),
        length=1.5,
    ),
    Scenario(
        "pricing_slow",
        Process.POISSON,
        "Pricing gets little of the processor: who waits for it inherits its pace, who does not only finishes later.",
        fault=Timed(FAULTS["brownout_pricing"], starts=0.2, lasts=0.4),
    ),
)
SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in CATALOGUE}
