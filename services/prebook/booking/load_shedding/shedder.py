"""Admission control at booking's edge: no more bookings than can be settled in time, and an explicit refusal otherwise.

What waits is sampled once a second, for all replicas; between two samples each replica counts what it lets in itself.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prebook.booking.store import Leg, Signals
from prebook.contracts.plan import Coupling, Plan
from prebook.flows import FIND_DRIVER, QUOTE_FARE
from prebook.messaging.channel import Channels
from prebook.messaging.policy import Policies
from prebook.patterns.admission_control import OPEN, Load, Valve
from prebook.patterns.waiting_room import WaitingRoom
from prebook.runtime.service import Running
from prebook.runtime.settings import Settings

FLOWS_TO_OUTCOME = (QUOTE_FARE.name, FIND_DRIVER.name)
"""What a booking needs answered before it is settled. Telling the rider comes after that, and is tried for minutes."""
PATIENCE = 2 / 3
"""Share of a flow's deadline that its oldest question may have waited: whoever joins the queue now needs some too."""
SOON_S = 2.5
"""No more wait for an answer than are answered in this time: who would wait longer is better told to come again.
What does not move is judged by its number and age alone: nobody knows how long it takes, and who can wait is let in."""
LEAST_PER_S = 5.0
"""The rate that is reckoned with where none has been seen, or the last one is long ago."""
FADES = 0.98
"""What is left of a remembered rate after each second in which less was asked for."""
LEARNS = 0.25
"""How much of a rate seen while work is waiting, which is all that can be done, is believed each second."""
MOST_ENTERING = 32
"""Bookings being stored or held at a time, however often each was sent. With these apart, bursts outran the samples."""
PLACES_KEPT = 2.0
"""Who was told to come is stored up to this multiple of it: newcomers fill the door at once, these come one by one."""
KEPT_FREE = 0.8
"""Times are given out at this share of the rate that is seen: most who keep theirs must find room."""
JITTER, INSTANT_S = 0.1, 0.001
OUTBOX, BROKER, BLOCKED, HELD, ENTERING = "outbox_rows", "outbox_age", "broker_blocked", "held", "entering"


@dataclass(frozen=True, slots=True)
class Shed:
    """Not now. ``reason`` names the load that is at its limit."""

    reason: str
    retry_after_s: float


def named(leg: Leg) -> str:
    flow, coupling = leg
    return f"{flow}_by_{coupling}"


class Admitting:
    def __init__(
        self,
        settings: Settings,
        policies: Policies,
        channels: Channels,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._settings, self._policies, self._channels = settings, policies, channels
        self._clock, self._draw, self._on = clock, draw, settings.back_pressure == "on"
        self._loads: dict[str, Load] = {}
        self._valves: dict[str, Valve] = defaultdict(lambda: OPEN)
        self._room = WaitingRoom()
        self._rates: dict[str, float] = defaultdict(lambda: LEAST_PER_S)
        self._taken: Counter[str] = Counter()
        self._sampled_at, self._held = clock(), 0
        self._entering: Counter[str] = Counter()
        self._blocked_s: Callable[[], float | None] = lambda: None

    def heed(self, blocked_s: Callable[[], float | None]) -> None:
        """``blocked_s``: for how long the broker has taken nothing; None: it takes. Asked each time, not sampled."""
        self._blocked_s = blocked_s

    @property
    def loads(self) -> Mapping[str, Load]:
        """By name, as last sampled."""
        return self._loads

    def sampled(self, signals: Signals) -> None:
        marks, legs = self._settings, signals.unanswered.keys() | signals.answered_per_s.keys()
        for leg in legs:
            self._remember(named(leg), signals.unanswered.get(leg, 0), signals.answered_per_s.get(leg, 0.0))
        self._loads = {
            OUTBOX: Load(waiting=signals.outbox_rows, limit=marks.most_outbox_rows),
            BROKER: Load(waiting=0, limit=1, aged=signals.outbox_oldest_s / marks.oldest_outbox_s),
            BLOCKED: self._now(BLOCKED, self._clock()),
            **{named(leg): self._asked(leg, signals) for leg in legs},
        }
        self._taken.clear()
        self._sampled_at = self._clock()

    def refuses(self, key: str, plan: Plan) -> Shed | None:
        """None: let in, and counted. ``key``: what the rider will come back with."""
        now, entrance = self._clock(), named((QUOTE_FARE.name, plan[QUOTE_FARE.name]))
        promised = self._room.expects(key, now)
        loads = {name: self._now(name, now) for name in self._needs(plan)}
        full = [name for name, load in loads.items() if self._full(name, load, promised=promised)]
        if full and self._on:
            lane, per_s = self._slowest(plan)
            opens_in_s = max(loads[name].opens_in_s(per_s) for name in full)
            wait_s = self._room.wait_s(key, now, opens_in_s=opens_in_s, per_s=per_s * KEPT_FREE, lane=lane)
            return self._shed(full[0], wait_s)
        self._room.entered(key)
        self._taken[entrance] += 1
        return None

    def entered(self, key: str, *, held: bool) -> Callable[[], None]:
        """From now on a booking is being stored and answered, until what is returned is called, once.

        ``held``: the rider waits here until the booking is settled.
        """
        self._held += held
        self._entering[key] += 1

        def answered() -> None:
            self._held -= held
            self._entering[key] -= 1
            if not self._entering[key]:
                del self._entering[key]

        return answered

    def _asked(self, leg: Leg, signals: Signals) -> Load:
        deadline_s = self._policies[leg[0]].deadline_s
        waited_s = deadline_s - signals.due_in_s.get(leg, deadline_s)
        most, per_s = self._settings.most_unanswered, signals.answered_per_s.get(leg, 0.0)
        soon = self._rates[named(leg)] * SOON_S
        # A call is over within its time-out: what is older than that waits for its deadline, and for nobody.
        aged = 0.0 if self.holds(leg[1]) else waited_s / (deadline_s * PATIENCE)
        return Load(
            waiting=signals.unanswered.get(leg, 0),
            limit=min(most, soon) if per_s else most,
            moving_limit=soon,
            aged=aged,
            per_s=per_s,
        )

    def _remember(self, name: str, waiting: int, per_s: float) -> None:
        """What is answered while work waits is what can be done; else it is only what was asked for, and what was
        possible a moment ago still is. So it is while nothing is answered: whatever holds it up will be gone."""
        before = self._rates[name]
        busy = per_s > 0 and waiting >= before
        seen = before + LEARNS * (per_s - before) if busy else before * FADES
        self._rates[name] = max(LEAST_PER_S, seen, 0.0 if busy else per_s)

    def _slowest(self, plan: Plan) -> tuple[str, float]:
        """Whoever comes in goes through all legs: how many can is said by the slowest that has been seen. Plans that
        share it share the times that it gives out."""
        legs = [named((flow, plan[flow])) for flow in FLOWS_TO_OUTCOME]
        seen = [(self._rates[leg], leg) for leg in legs if leg in self._rates]
        per_s, lane = min(seen, default=(LEAST_PER_S, legs[0]))
        return lane, per_s

    def _needs(self, plan: Plan) -> tuple[str, ...]:
        couplings = [plan[flow] for flow in FLOWS_TO_OUTCOME]
        legs = [named((flow, plan[flow])) for flow in FLOWS_TO_OUTCOME]
        broker = [BROKER, BLOCKED] if any(self._channels[c].traits.needs_broker_up for c in couplings) else []
        held = [HELD] if self.holds(plan[QUOTE_FARE.name]) else []
        return (OUTBOX, *broker, *legs, *held, ENTERING)

    def holds(self, coupling: Coupling) -> bool:
        return self._channels[coupling].traits.answers_inline

    def _now(self, name: str, now: float) -> Load:
        if name == HELD:
            return Load(waiting=self._held, limit=self._settings.most_held)
        if name == ENTERING:
            return Load(waiting=len(self._entering), limit=MOST_ENTERING)
        if name == BLOCKED:
            return self._stopped(self._blocked_s())
        seen = self._loads.get(name) or Load(waiting=0, limit=self._settings.most_unanswered)
        return seen.later(now - self._sampled_at, self._taken[name])

    def _stopped(self, since_s: float | None) -> Load:
        most_s = max(self._settings.most_blocked_s, INSTANT_S)
        return Load(waiting=0, limit=1, aged=0.0 if since_s is None else max(since_s, INSTANT_S) / most_s)

    def _full(self, name: str, load: Load, *, promised: bool) -> bool:
        self._valves[name] = self._valves[name].felt(load)
        if name == ENTERING and promised:
            return load.waiting >= PLACES_KEPT * load.limit
        return not self._valves[name].admits(load, promised=promised)

    def _shed(self, reason: str, wait_s: float) -> Shed:
        return Shed(reason, wait_s + self._draw(0.0, max(1.0, wait_s * JITTER)))


def admitting(running: Running[Any]) -> Admitting:
    """For ``Running.one``."""
    return Admitting(running.settings, running.policies, running.endpoint.channels)
