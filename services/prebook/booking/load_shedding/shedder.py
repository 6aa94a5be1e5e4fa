"""Admission control at booking's edge: no more bookings than can be settled in time, and an explicit refusal otherwise.

What waits is sampled once a second, for all replicas; between two samples each replica counts what it lets in itself.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prebook.booking.store import FlowCoupling, LoadSignals
from prebook.contracts.plan import Coupling, Plan
from prebook.flows import FIND_DRIVER, QUOTE_FARE
from prebook.messaging.channel import Channels
from prebook.messaging.policy import Policies
from prebook.patterns.admission_control import ACCEPTING, Hysteresis, QueueLoad
from prebook.patterns.waiting_room import WaitingRoom
from prebook.runtime.settings import ServiceSettings

FLOWS_UNTIL_SETTLED = (QUOTE_FARE.name, FIND_DRIVER.name)
"""What a booking needs answered before it is settled. Telling the rider comes after that, and is tried for minutes."""
MAX_DEADLINE_SHARE = 2 / 3
"""Share of a flow's deadline that its oldest question may have waited: whoever joins the queue now needs some too."""
TARGET_QUEUEING_DELAY_S = 2.5
"""No more wait for an answer than are answered in this time: who would wait longer is better told to come again.
What does not move is judged by its number and age alone: nobody knows how long it takes, and who can wait is let in."""
MIN_RATE_PER_S = 5.0
"""The rate that is reckoned with where none has been seen, or the last one is long ago."""
RATE_DECAY = 0.98
"""What is left of a remembered rate after each second in which less was asked for."""
RATE_SMOOTHING = 0.25
"""How much of a rate seen while work is waiting, which is all that can be done, is believed each second."""
MAX_CONCURRENT_INSERTS = 32
"""Bookings being stored or held at a time, however often each was sent. With these apart, bursts outran the samples."""
RETRY_HEADROOM = 2.0
"""Who was told to come is stored up to this multiple of it: newcomers fill the door at once, these come one by one."""
RETRY_RATE_SHARE = 0.8
"""Times are given out at this share of the rate that is seen: most who keep theirs must find room."""
JITTER, MIN_BLOCKED_S = 0.1, 0.001
OUTBOX_ROWS, OUTBOX_AGE, BROKER_BLOCKED, WAITING_RIDERS, CONCURRENT_INSERTS = (
    "outbox_rows",
    "outbox_age",
    "broker_blocked",
    "waiting_riders",
    "concurrent_inserts",
)


@dataclass(frozen=True, slots=True)
class ShedDecision:
    """Not now. ``reason`` names the load that is at its limit."""

    reason: str
    retry_after_s: float


def load_name(flow_coupling: FlowCoupling) -> str:
    flow, coupling = flow_coupling
    return f"{flow}_by_{coupling}"


class LoadShedder:
    def __init__(
        self,
        settings: ServiceSettings,
        policies: Policies,
        channels: Channels,
        broker_blocked_s: Callable[[], float | None],
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """``broker_blocked_s``: for how many seconds the broker has accepted nothing; asked each time, not sampled."""
        self._settings = settings
        self._policies = policies
        self._channels = channels
        self._clock = clock
        self._draw = draw
        self._enabled = settings.back_pressure == "on"
        self._loads: dict[str, QueueLoad] = {}
        self._hysteresis: dict[str, Hysteresis] = defaultdict(lambda: ACCEPTING)
        self._waiting_room = WaitingRoom()
        self._rates: dict[str, float] = defaultdict(lambda: MIN_RATE_PER_S)
        self._admitted: Counter[str] = Counter()
        self._sampled_at, self._waiting_riders = clock(), 0
        self._inserting: Counter[str] = Counter()
        self._broker_blocked_s = broker_blocked_s

    @property
    def loads(self) -> Mapping[str, QueueLoad]:
        """By name, as last sampled."""
        return self._loads

    def update(self, signals: LoadSignals) -> None:
        marks, legs = self._settings, signals.pending_requests.keys() | signals.replies_per_s.keys()
        for leg in legs:
            self._update_rate(load_name(leg), signals.pending_requests.get(leg, 0), signals.replies_per_s.get(leg, 0.0))
        self._loads = {
            OUTBOX_ROWS: QueueLoad(waiting=signals.outbox_rows, limit=marks.max_outbox_rows),
            OUTBOX_AGE: QueueLoad(waiting=0, limit=1, age_share=signals.outbox_age_s / marks.max_outbox_age_s),
            BROKER_BLOCKED: self._current_load(BROKER_BLOCKED, self._clock()),
            **{load_name(leg): self._pending_load(leg, signals) for leg in legs},
        }
        self._admitted.clear()
        self._sampled_at = self._clock()

    def decide(self, key: str, plan: Plan) -> ShedDecision | None:
        """None: let in, and counted. ``key``: what the rider will come back with."""
        now, entrance = self._clock(), load_name((QUOTE_FARE.name, plan[QUOTE_FARE.name]))
        promised = self._waiting_room.has_due_reservation(key, now)
        loads = {name: self._current_load(name, now) for name in self._load_names(plan)}
        full = [name for name, load in loads.items() if self._is_full(name, load, returning=promised)]
        if full and self._enabled:
            lane, per_s = self._bottleneck(plan)
            opens_in_s = max(loads[name].reopens_in_s(per_s) for name in full)
            wait_s = self._waiting_room.reserve_wait_s(
                key, now, opens_in_s=opens_in_s, admissions_per_s=per_s * RETRY_RATE_SHARE, bottleneck=lane
            )
            return self._shed_decision(full[0], wait_s)
        self._waiting_room.remove(key)
        self._admitted[entrance] += 1
        return None

    def begin_insert(self, key: str, *, rider_waits: bool) -> Callable[[], None]:
        """From now on a booking is being stored and answered, until what is returned is called, once.

        ``held``: the rider waits here until the booking is settled.
        """
        self._waiting_riders += rider_waits
        self._inserting[key] += 1

        def answered() -> None:
            self._waiting_riders -= rider_waits
            self._inserting[key] -= 1
            if not self._inserting[key]:
                del self._inserting[key]

        return answered

    def _pending_load(self, flow_coupling: FlowCoupling, signals: LoadSignals) -> QueueLoad:
        deadline_s = self._policies[flow_coupling[0]].deadline_s
        waited_s = deadline_s - signals.time_to_deadline_s.get(flow_coupling, deadline_s)
        most, per_s = self._settings.max_pending_requests, signals.replies_per_s.get(flow_coupling, 0.0)
        soon = self._rates[load_name(flow_coupling)] * TARGET_QUEUEING_DELAY_S
        # A call is over within its time-out: what is older than that waits for its deadline, and for nobody.
        aged = 0.0 if self.replies_inline(flow_coupling[1]) else waited_s / (deadline_s * MAX_DEADLINE_SHARE)
        return QueueLoad(
            waiting=signals.pending_requests.get(flow_coupling, 0),
            limit=min(most, soon) if per_s else most,
            throughput_limit=soon,
            age_share=aged,
            completions_per_s=per_s,
        )

    def _update_rate(self, name: str, waiting: int, per_s: float) -> None:
        """What is answered while work waits is what can be done; else it is only what was asked for, and what was
        possible a moment ago still is. So it is while nothing is answered: whatever holds it up will be gone."""
        before = self._rates[name]
        busy = per_s > 0 and waiting >= before
        seen = before + RATE_SMOOTHING * (per_s - before) if busy else before * RATE_DECAY
        self._rates[name] = max(MIN_RATE_PER_S, seen, 0.0 if busy else per_s)

    def _bottleneck(self, plan: Plan) -> tuple[str, float]:
        """Whoever comes in goes through all legs: how many can is said by the slowest that has been seen. Plans that
        share it share the times that it gives out."""
        legs = [load_name((flow, plan[flow])) for flow in FLOWS_UNTIL_SETTLED]
        seen = [(self._rates[leg], leg) for leg in legs if leg in self._rates]
        per_s, lane = min(seen, default=(MIN_RATE_PER_S, legs[0]))
        return lane, per_s

    def _load_names(self, plan: Plan) -> tuple[str, ...]:
        couplings = [plan[flow] for flow in FLOWS_UNTIL_SETTLED]
        legs = [load_name((flow, plan[flow])) for flow in FLOWS_UNTIL_SETTLED]
        broker = (
            [OUTBOX_AGE, BROKER_BLOCKED] if any(self._channels[c].traits.needs_broker_up for c in couplings) else []
        )
        held = [WAITING_RIDERS] if self.replies_inline(plan[QUOTE_FARE.name]) else []
        return (OUTBOX_ROWS, *broker, *legs, *held, CONCURRENT_INSERTS)

    def replies_inline(self, coupling: Coupling) -> bool:
        return self._channels[coupling].traits.replies_inline

    def _current_load(self, name: str, now: float) -> QueueLoad:
        if name == WAITING_RIDERS:
            return QueueLoad(waiting=self._waiting_riders, limit=self._settings.max_waiting_riders)
        if name == CONCURRENT_INSERTS:
            return QueueLoad(waiting=len(self._inserting), limit=MAX_CONCURRENT_INSERTS)
        if name == BROKER_BLOCKED:
            return self._blocked_load(self._broker_blocked_s())
        seen = self._loads.get(name) or QueueLoad(waiting=0, limit=self._settings.max_pending_requests)
        return seen.projected(now - self._sampled_at, self._admitted[name])

    def _blocked_load(self, blocked_s: float | None) -> QueueLoad:
        most_s = max(self._settings.max_broker_blocked_s, MIN_BLOCKED_S)
        return QueueLoad(
            waiting=0, limit=1, age_share=0.0 if blocked_s is None else max(blocked_s, MIN_BLOCKED_S) / most_s
        )

    def _is_full(self, name: str, load: QueueLoad, *, returning: bool) -> bool:
        self._hysteresis[name] = self._hysteresis[name].updated(load)
        if name == CONCURRENT_INSERTS and returning:
            return load.waiting >= RETRY_HEADROOM * load.limit
        return not self._hysteresis[name].allows(load, has_reservation=returning)

    def _shed_decision(self, reason: str, wait_s: float) -> ShedDecision:
        return ShedDecision(reason, wait_s + self._draw(0.0, max(1.0, wait_s * JITTER)))
