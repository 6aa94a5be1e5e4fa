"""Admission control at booking's edge: admit as many bookings as can be settled in time, refuse the others explicitly.

Queue lengths of all replicas are sampled once a second; between two samples each replica adds its own admissions.
Requests that wait for a provider that is away, or did so, do not count: their deadlines are minutes.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from prebook.booking.load_shedding.provider_outage import ProviderOutage
from prebook.booking.store import FlowCoupling, LoadSignals
from prebook.contracts.plan import Coupling, Plan
from prebook.flows import FIND_DRIVER, QUOTE_FARE
from prebook.messaging.channel import Channels
from prebook.messaging.policy import Policies
from prebook.patterns.admission_control import ACCEPTING, Hysteresis, QueueLoad
from prebook.patterns.waiting_room import WaitingRoom
from prebook.runtime.settings import ServiceSettings

FLOWS_UNTIL_SETTLED = (QUOTE_FARE.name, FIND_DRIVER.name)
"""Flows that a booking needs before it is settled. The notice comes later and is retried for minutes."""
MAX_DEADLINE_SHARE = 2 / 3
"""Share of a flow's deadline for which its provider may be away; requests that wait need the rest for themselves."""
TARGET_QUEUEING_DELAY_S = 2.5
"""Queueing delay that pending requests may reach, at the measured reply rate; beyond it a refusal serves riders better.
A queue without replies has no known rate, so only its length and age limit it."""
MIN_RATE_PER_S = 5.0
"""Lower bound of the estimated reply rate, and its value before any reply has been seen."""
RATE_DECAY = 0.98
"""Factor on the estimated rate for each second in which less was requested than could be done."""
RATE_SMOOTHING = 0.25
"""Weight of the latest sample in the estimated rate while work is waiting. Source: exponential smoothing."""
MAX_CONCURRENT_INSERTS = 32
"""Keys being inserted or waiting for inline replies at a time. Without this limit, bursts outran the samples."""
RETRY_HEADROOM = 2.0
"""Multiple of MAX_CONCURRENT_INSERTS for requests with a reservation: new requests fill the limit at once, reserved
ones arrive spread over time."""
RETRY_RATE_SHARE = 0.8
"""Share of the estimated rate at which reservations are given out, so that most that are kept find capacity."""
JITTER = 0.1
"""Random share added to a wait, so that refused riders do not return at once."""
MIN_BLOCKED_S = 0.001
"""Lower bound that keeps the share of a limit of zero seconds defined."""

OUTBOX_ROWS = "outbox_rows"
OUTBOX_AGE = "outbox_age"
BROKER_BLOCKED = "broker_blocked"
WAITING_RIDERS = "waiting_riders"
CONCURRENT_INSERTS = "concurrent_inserts"
OWN_LOADS = (BROKER_BLOCKED, WAITING_RIDERS, CONCURRENT_INSERTS)
"""Loads that a replica knows without a sample of the store."""


@dataclass(frozen=True, slots=True)
class ShedDecision:
    """Refusal of a booking; ``reason`` names the bottleneck that is at its limit."""

    reason: str
    retry_after_s: float


def load_name(flow_coupling: FlowCoupling) -> str:
    """Name of the bottleneck of a flow in one coupling: ``quote_fare_by_sync_api``."""
    flow, coupling = flow_coupling
    return f"{flow}_by_{coupling}"


class LoadShedder:
    """Admission control of one replica of booking. Source: SRE, load shedding; hysteresis keeps decisions stable."""

    def __init__(
        self,
        settings: ServiceSettings,
        policies: Policies,
        channels: Channels,
        broker_blocked_s: Callable[[], float | None],
        *,
        is_enabled: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """``broker_blocked_s`` returns the seconds for which the broker has accepted nothing, ``is_enabled`` whether
        anything is refused at all; both are called per decision.
        """
        self._settings = settings
        self._policies = policies
        self._channels = channels
        self._clock = clock
        self._draw = draw
        self._is_enabled = is_enabled
        self._loads: dict[str, QueueLoad] = {}
        self._hysteresis: dict[str, Hysteresis] = defaultdict(lambda: ACCEPTING)
        self._waiting_room = WaitingRoom()
        self._rates: dict[str, float] = defaultdict(lambda: MIN_RATE_PER_S)
        self._outages: dict[FlowCoupling, ProviderOutage] = defaultdict(ProviderOutage)
        self._admitted: Counter[Hashable] = Counter()
        self._sampled_at = clock()
        self._waiting_riders = 0
        self._inserting: Counter[Hashable] = Counter()
        self._broker_blocked_s = broker_blocked_s

    @property
    def loads(self) -> Mapping[str, QueueLoad]:
        """Loads of the latest sample, by name of the bottleneck."""
        return self._loads

    def update(self, signals: LoadSignals) -> None:
        """Replace the loads and estimated rates by a new sample."""
        settings = self._settings
        flow_couplings = signals.pending_requests.keys() | signals.replies_per_s.keys()
        for each in flow_couplings | self._outages.keys():
            self._update_outage(each, signals)
        for each in flow_couplings:
            self._update_rate(
                load_name(each), signals.pending_requests.get(each, 0), signals.replies_per_s.get(each, 0.0)
            )
        self._loads = {
            OUTBOX_ROWS: QueueLoad(waiting=signals.outbox_rows, limit=settings.max_outbox_rows),
            OUTBOX_AGE: QueueLoad(waiting=0, limit=1, age_share=signals.outbox_age_s / settings.max_outbox_age_s),
            **{name: self._current_load(name, self._clock()) for name in OWN_LOADS},
            **{load_name(each): self._pending_load(each, signals) for each in flow_couplings},
        }
        self._admitted.clear()
        self._sampled_at = self._clock()

    def decide(self, key: Hashable, plan: Plan, *, bookings: int = 1) -> ShedDecision | None:
        """Admit and count ``bookings`` under one key (None), or refuse with a reserved time for the next request."""
        now = self._clock()
        first_load = load_name((QUOTE_FARE.name, plan[QUOTE_FARE.name]))
        has_reservation = self._waiting_room.has_due_reservation(key, now)
        loads = {name: self._current_load(name, now) for name in self._load_names(plan)}
        full = [name for name, load in loads.items() if self._is_full(name, load, has_reservation=has_reservation)]
        if full and self._is_enabled():
            bottleneck, per_s = self._bottleneck(plan)
            opens_in_s = max(loads[name].reopens_in_s(per_s) for name in full)
            wait_s = self._waiting_room.reserve_wait_s(
                key, now, opens_in_s=opens_in_s, admissions_per_s=per_s * RETRY_RATE_SHARE, bottleneck=bottleneck
            )
            return self._shed_decision(full[0], wait_s)
        self._waiting_room.remove(key)
        self._admitted[first_load] += bookings
        return None

    def begin_insert(self, key: Hashable, *, rider_waits: bool) -> Callable[[], None]:
        """Count an insert as concurrent until the returned function is called, exactly once.

        ``rider_waits``: whether the rider's connection waits until the booking is settled.
        """
        self._waiting_riders += rider_waits
        self._inserting[key] += 1

        def end_insert() -> None:
            self._waiting_riders -= rider_waits
            self._inserting[key] -= 1
            if not self._inserting[key]:
                del self._inserting[key]

        return end_insert

    def _update_outage(self, flow_coupling: FlowCoupling, signals: LoadSignals) -> None:
        if self.replies_inline(flow_coupling[1]):
            return  # a call ends within its timeout: an older request waits for its deadline only, not for a provider
        deadline_s = self._policies[flow_coupling[0]].deadline_s
        self._outages[flow_coupling].update(
            self._clock(),
            waiting=signals.pending_requests.get(flow_coupling, 0),
            waited_s=deadline_s - signals.time_to_deadline_s.get(flow_coupling, deadline_s),
            reply_age_s=signals.reply_age_s.get(flow_coupling),
        )

    def _pending_load(self, flow_coupling: FlowCoupling, signals: LoadSignals) -> QueueLoad:
        """Load of one flow in one coupling.

        While replies come, requests may wait for TARGET_QUEUEING_DELAY_S at their rate, and the backlog of an outage
        does not count, at this provider or at the next. Without replies, only the fixed limit and the deadline count.
        """
        outage = self._outages[flow_coupling]
        max_pending = self._settings.max_pending_requests
        per_s = signals.replies_per_s.get(flow_coupling, 0.0)
        now = self._clock()
        backlog = sum(each.backlog(now) for each in self._outages.values())
        queueing_delay_s = TARGET_QUEUEING_DELAY_S + outage.stalled_s
        throughput_limit = self._rates[load_name(flow_coupling)] * queueing_delay_s + backlog
        deadline_s = self._policies[flow_coupling[0]].deadline_s
        return QueueLoad(
            waiting=signals.pending_requests.get(flow_coupling, 0),
            limit=min(max_pending, throughput_limit) if per_s and not outage.is_away else max_pending,
            throughput_limit=throughput_limit,
            age_share=outage.stalled_s / (deadline_s * MAX_DEADLINE_SHARE),
            completions_per_s=per_s,
        )

    def _update_rate(self, name: str, waiting: int, per_s: float) -> None:
        """Estimate the rate at which requests of a bottleneck can be replied to.

        The reply rate measures capacity only while work is waiting; without a backlog it measures demand, and without
        replies it measures an outage that will pass. In both cases the estimate decays slowly instead.
        """
        previous = self._rates[name]
        is_saturated = per_s > 0 and waiting >= previous
        estimate = previous + RATE_SMOOTHING * (per_s - previous) if is_saturated else previous * RATE_DECAY
        self._rates[name] = max(MIN_RATE_PER_S, estimate, 0.0 if is_saturated else per_s)

    def _bottleneck(self, plan: Plan) -> tuple[str, float]:
        """Name and rate of the slowest measured flow of a plan: each booking passes all of its flows.

        Plans with the same bottleneck share its reservations.
        """
        names = [load_name((flow, plan[flow])) for flow in FLOWS_UNTIL_SETTLED]
        measured = [(self._rates[name], name) for name in names if name in self._rates]
        per_s, bottleneck = min(measured, default=(MIN_RATE_PER_S, names[0]))
        return bottleneck, per_s

    def _load_names(self, plan: Plan) -> tuple[str, ...]:
        couplings = [plan[flow] for flow in FLOWS_UNTIL_SETTLED]
        pending = [load_name((flow, plan[flow])) for flow in FLOWS_UNTIL_SETTLED]
        broker = (
            [OUTBOX_AGE, BROKER_BLOCKED] if any(self._channels[c].traits.needs_broker_up for c in couplings) else []
        )
        waiting = [WAITING_RIDERS] if self.replies_inline(plan[QUOTE_FARE.name]) else []
        return (OUTBOX_ROWS, *broker, *pending, *waiting, CONCURRENT_INSERTS)

    def replies_inline(self, coupling: Coupling) -> bool:
        """Whether the coupling's channel returns the reply within the call."""
        return self._channels[coupling].traits.replies_inline

    def _current_load(self, name: str, now: float) -> QueueLoad:
        if name == WAITING_RIDERS:
            return QueueLoad(waiting=self._waiting_riders, limit=self._settings.max_waiting_riders)
        if name == CONCURRENT_INSERTS:
            return QueueLoad(waiting=len(self._inserting), limit=MAX_CONCURRENT_INSERTS)
        if name == BROKER_BLOCKED:
            return self._blocked_load(self._broker_blocked_s())
        sampled = self._loads.get(name) or QueueLoad(waiting=0, limit=self._settings.max_pending_requests)
        return sampled.projected(now - self._sampled_at, self._admitted[name])

    def _blocked_load(self, blocked_s: float | None) -> QueueLoad:
        max_blocked_s = max(self._settings.max_broker_blocked_s, MIN_BLOCKED_S)
        return QueueLoad(
            waiting=0, limit=1, age_share=0.0 if blocked_s is None else max(blocked_s, MIN_BLOCKED_S) / max_blocked_s
        )

    def _is_full(self, name: str, load: QueueLoad, *, has_reservation: bool) -> bool:
        self._hysteresis[name] = self._hysteresis[name].updated(load)
        if name == CONCURRENT_INSERTS and has_reservation:
            return load.waiting >= RETRY_HEADROOM * load.limit
        return not self._hysteresis[name].allows(load, has_reservation=has_reservation)

    def _shed_decision(self, reason: str, wait_s: float) -> ShedDecision:
        return ShedDecision(reason, wait_s + self._draw(0.0, max(1.0, wait_s * JITTER)))
