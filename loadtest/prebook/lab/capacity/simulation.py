"""Simulation of rides with the measured cost of a ride: stages that share processors, behind admission control. Pure.

Rides are a fluid, moved in steps: each stage works on its queue as far as its processors go, and what is done is in the
next stage's queue at the next step. Source: queueing theory, fluid approximation.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from prebook.lab.capacity.stages import ADMITTED_FLOWS, SETTLED_AFTER, STAGES, Processors

STEP_S = 0.05
PASSES = 3
"""Rounds in which a step's processor time is divided: what one stage cannot use goes to the others."""
TARGET_QUEUEING_DELAY_S = 2.5
MIN_RATE_PER_S = 5.0
RATE_WINDOW_S = 3
"""Booking admits rides until a flow's pending requests would wait this long at the rate of the last seconds."""
WARMUP_S = 30
"""Seconds of steady load before a burst, in which admission control learns the rate."""
MAX_DRAIN_FACTOR = 10
"""The simulation goes on after a burst for at most this multiple of its duration."""
EPSILON = 1e-9


@dataclass(frozen=True)
class SimulatedSecond:
    """One second of a simulation."""

    offered: float
    accepted: float
    settled: float
    pending: float
    """Rides that are accepted and not settled, at the end of the second."""
    oldest_s: float
    """Highest age of the oldest request without a reply."""
    received: Sequence[float]
    """Rides that entered each stage."""
    handled: Sequence[float]
    """Rides that left each stage."""


@dataclass(frozen=True)
class BurstOutcome:
    """A simulated burst by seconds. ``duration_s``: seconds in which rides were offered; then everything is settled."""

    seconds: Sequence[SimulatedSecond]
    duration_s: int

    @property
    def settled_per_s(self) -> float:
        """Rides settled per second of the burst."""
        return sum(second.settled for second in self.seconds[: self.duration_s]) / self.duration_s

    @property
    def oldest_s(self) -> float:
        """Highest age of the oldest request."""
        return max(second.oldest_s for second in self.seconds)

    @property
    def refused(self) -> float:
        """Rides that were refused."""
        return sum(second.offered - second.accepted for second in self.seconds)

    @property
    def drained_after_s(self) -> int:
        """Seconds after the burst until less than one ride was pending."""
        return sum(second.pending >= 1.0 for second in self.seconds[self.duration_s :])


def simulate_burst(
    processors: Processors, offered: Sequence[float], *, steady_per_s: float, has_admission: bool = True
) -> BurstOutcome:
    """Offer rides, given for each second, and go on until they are settled. ``steady_per_s``: rate before the burst."""
    simulation = RideSimulation(processors, has_admission)
    for _ in range(WARMUP_S):
        simulation.run_second(steady_per_s)
    seconds = [simulation.run_second(rides) for rides in offered]
    while seconds[-1].pending >= 1.0 and len(seconds) < MAX_DRAIN_FACTOR * len(offered):
        seconds.append(simulation.run_second(0.0))
    return BurstOutcome(seconds, len(offered))


class RideSimulation:
    """Rides in their stages. The cores of a pool may be changed between two seconds."""

    def __init__(self, processors: Processors, has_admission: bool) -> None:
        self.cores = dict(processors.cores)
        self._processors = processors
        self._has_admission = has_admission
        self._queues = [_StageQueue() for _ in STAGES]
        self._admission = {flow: _Admission() for flow in ADMITTED_FLOWS}
        self._now_s = 0.0
        self._settled = 0.0
        self._received = [0.0] * len(STAGES)
        self._handled = [0.0] * len(STAGES)

    @property
    def waiting(self) -> Sequence[float]:
        """Rides that wait in each stage."""
        return [queue.rides for queue in self._queues]

    def run_second(self, offered: float) -> SimulatedSecond:
        """Offer rides, evenly over one second, and return what happened in it."""
        self._settled = 0.0
        self._received = [0.0] * len(STAGES)
        self._handled = [0.0] * len(STAGES)
        accepted = oldest_s = 0.0
        steps = round(1 / STEP_S)
        for _ in range(steps):
            accepted += self._run_step(offered / steps)
            oldest_s = max(oldest_s, *(queue.age_s(self._now_s) for queue in self._queues))
        for flow, admission in self._admission.items():
            admission.sample(self._pending(flow))
        pending = sum(queue.rides for queue in self._queues[: SETTLED_AFTER + 1])
        return SimulatedSecond(offered, accepted, self._settled, pending, oldest_s, self._received, self._handled)

    def _run_step(self, offered: float) -> float:
        """Admit, work and move rides for one step; return the admitted ones."""
        room = min(admission.limit - self._pending(flow) for flow, admission in self._admission.items())
        accepted = min(offered, max(0.0, room)) if self._has_admission else offered
        self._enter(0, self._now_s, accepted)
        budgets = {pool: cores * STEP_S for pool, cores in self.cores.items()}
        for pool, seconds in self._processors.refusal.items():
            budgets[pool] -= min(budgets[pool], seconds * (offered - accepted))
        done = self._divide(budgets)
        self._now_s += STEP_S
        for number in reversed(range(len(STAGES))):
            self._move(number, done[number])
        return accepted

    def _divide(self, budgets: dict[str, float]) -> list[float]:
        """Return the rides that each stage finishes; stages that share a pool get equal shares of their demand."""
        waiting = [queue.rides for queue in self._queues]
        done = [0.0] * len(STAGES)
        for _ in range(PASSES):
            wanted = dict.fromkeys(budgets, 0.0)
            for rides, demand in zip(waiting, self._processors.demands, strict=True):
                for pool, seconds in demand.items():
                    wanted[pool] += rides * seconds
            shares = {pool: min(1.0, budgets[pool] / need) for pool, need in wanted.items() if need > EPSILON}
            for number, demand in enumerate(self._processors.demands):
                finished = waiting[number] * min(shares.get(pool, 1.0) for pool in demand)
                done[number] += finished
                waiting[number] -= finished
                for pool, seconds in demand.items():
                    budgets[pool] = max(0.0, budgets[pool] - finished * seconds)
        return done

    def _move(self, number: int, rides: float) -> None:
        """Move rides from a stage to the next one, the oldest first."""
        stage = STAGES[number]
        for began_s, moved in self._queues[number].take(rides):
            self._handled[number] += moved
            if number == SETTLED_AFTER:
                self._settled += moved
            if number + 1 == len(STAGES):
                continue
            is_same_flow = STAGES[number + 1].flow == stage.flow
            self._enter(number + 1, began_s if is_same_flow else self._now_s, moved)
            if not is_same_flow and stage.flow in self._admission:
                self._admission[stage.flow].count(moved)

    def _enter(self, number: int, began_s: float, rides: float) -> None:
        self._queues[number].put(began_s, rides)
        self._received[number] += rides

    def _pending(self, flow: str) -> float:
        return sum(queue.rides for stage, queue in zip(STAGES, self._queues, strict=True) if stage.flow == flow)


@dataclass
class _StageQueue:
    """Rides that wait for one stage, in cohorts: the time at which their flow began, and their number."""

    rides: float = 0.0
    cohorts: "deque[list[float]]" = field(default_factory=deque)

    def put(self, began_s: float, rides: float) -> None:
        if rides <= EPSILON:
            return
        self.rides += rides
        if self.cohorts and abs(self.cohorts[-1][0] - began_s) < STEP_S / 2:
            self.cohorts[-1][1] += rides
        else:
            self.cohorts.append([began_s, rides])

    def take(self, rides: float) -> Iterator[tuple[float, float]]:
        """Remove rides, the oldest first, and yield them by cohort."""
        while self.cohorts and rides > EPSILON:
            cohort = self.cohorts[0]
            moved = min(rides, cohort[1])
            cohort[1] -= moved
            rides -= moved
            if cohort[1] <= EPSILON:
                self.cohorts.popleft()
            self.rides = max(0.0, self.rides - moved) if self.cohorts else 0.0
            yield cohort[0], moved

    def age_s(self, now_s: float) -> float:
        """Return the age of the oldest ride in its flow; 0 if none waits."""
        return now_s - self.cohorts[0][0] if self.cohorts else 0.0


@dataclass
class _Admission:
    """Limit of a flow's pending requests: what its recent rate of replies gets done in the target delay."""

    rate_per_s: float = MIN_RATE_PER_S
    replied: "deque[float]" = field(default_factory=lambda: deque([0.0], maxlen=RATE_WINDOW_S))

    @property
    def limit(self) -> float:
        """Requests that may be pending."""
        return self.rate_per_s * TARGET_QUEUEING_DELAY_S

    def count(self, rides: float) -> None:
        self.replied[-1] += rides

    def sample(self, pending: float) -> None:
        """Update the rate once a second: it is measured while work waits, and decays slowly otherwise."""
        per_s = sum(self.replied) / RATE_WINDOW_S
        is_saturated = pending >= self.rate_per_s
        measured = self.rate_per_s + 0.25 * (per_s - self.rate_per_s)
        self.rate_per_s = measured if is_saturated else max(MIN_RATE_PER_S, per_s, 0.98 * self.rate_per_s)
        self.replied.append(0.0)
