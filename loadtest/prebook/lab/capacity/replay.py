"""Replay of a recorded burst through the autoscaler: arrivals are recorded, queues and replicas simulated. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

import msgspec

from prebook.flows import SERVICES
from prebook.kubernetes.cluster import ServiceSize
from prebook.kubernetes.generation.scaling import POLLING_INTERVAL_S, SCALING_BEHAVIOR
from prebook.lab.capacity.costs import MS_PER_S
from prebook.lab.capacity.hpa import SYNC_PERIOD_S, Autoscaler, MetricValue, desired_replicas, rules_of
from prebook.lab.capacity.keda import Activation, Mode, QueueStats, Trigger
from prebook.lab.capacity.recording import RecordedBurst
from prebook.lab.capacity.simulation import RideSimulation, SimulatedSecond
from prebook.lab.capacity.sizing import CapacityModel
from prebook.lab.capacity.stages import STAGES, Processors, cell_processors, server_cores, service_cores

STATISTICS_INTERVAL_S = 5
"""Age that figures of the management API reach. Source: RabbitMQ, collect_statistics_interval."""
POD_START_S = 10
"""Assumed time from a new pod to its first message: scheduling, start, startup probe."""
COOLDOWN_S = 300.0
"""Default of KEDA's cooldownPeriod."""
PREFETCH = 32
"""Messages of each queue that a replica has in hand at most."""
LATE_S = 5.0
"""Age of a request that counts as late."""
BEFORE_S = 120
AFTER_S = 1500
"""Seconds of steady load around a burst: all pods are there before, and removed again afterwards."""
STEADY_SHARE = 0.2
"""Steady load, as a share of the burst's rate."""
CONSUMED = tuple(dict.fromkeys((stage.service, stage.queue) for stage in STAGES if stage.queue))
"""Services and the queues that they consume in the simulation."""


@dataclass(frozen=True)
class TriggerSet:
    """Triggers of every scaled object. ``value``: target of the trigger on a queue; 0: the rate of one replica."""

    name: str
    trigger: Trigger | None = None
    value: float = 0.0
    average: bool = True
    has_cpu: bool = False
    to_zero: bool = False
    is_live: bool = False
    """Whether the trigger asks the queue itself (`amqp`), not the management API."""


class ReplayOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a burst under one set of triggers."""

    triggers: str
    oldest_s: float
    """Highest age of the oldest request."""
    late_s: int
    """Seconds in which a request was older than five seconds."""
    max_replicas: int
    """Most replicas of all services together."""
    replica_minutes: float
    flaps: int
    """Increases that follow a decrease, of all services."""
    max_above_partitions: int
    """Most replicas of a service beyond its partitions."""
    refused: float
    """Rides that admission control refused, in per cent."""


def replay_burst(
    triggers: TriggerSet,
    offered: Sequence[float],
    model: CapacityModel,
    sizes: Mapping[str, ServiceSize],
    *,
    has_admission: bool,
) -> ReplayOutcome:
    """Offer rides, given for each second, to services that the triggers scale within ``sizes``."""
    services = [_ScaledService(name, triggers, model, sizes[name]) for name in SERVICES]
    simulation = RideSimulation(_processors(model), has_admission)
    seconds: list[SimulatedSecond] = []
    totals: list[int] = []
    for now_s, rides in enumerate(offered):
        for service in services:
            simulation.cores[service.name] = service.cores(now_s)
        seconds.append(simulation.run_second(rides))
        for service in services:
            service.observe(now_s, seconds[-1], simulation.waiting)
            service.scale(now_s)
        totals.append(sum(service.replicas for service in services))
    refused = 1.0 - sum(second.accepted for second in seconds) / sum(offered)
    bounded = [service for service in services if service.partitions]
    return ReplayOutcome(
        triggers=triggers.name,
        oldest_s=round(max(second.oldest_s for second in seconds), 1),
        late_s=sum(second.oldest_s > LATE_S for second in seconds),
        max_replicas=max(totals),
        replica_minutes=round(sum(totals) / 60, 1),
        flaps=sum(service.flaps for service in services),
        max_above_partitions=max((service.most - (service.partitions or 0) for service in bounded), default=0),
        refused=round(100 * refused, 1),
    )


@dataclass
class _ScaledService:
    """Pods of one service, what its triggers see, and its autoscaler."""

    name: str
    triggers: TriggerSet
    model: CapacityModel
    size: ServiceSize
    started_at: list[float] = field(default_factory=list)
    """Start of each pod."""
    stats: dict[str, QueueStats] = field(default_factory=dict)
    """Queues as the management API shows them."""
    live: dict[str, QueueStats] = field(default_factory=dict)
    """Queues as they are."""
    used_cores: float = 0.0
    flaps: int = 0
    most: int = 0
    _published: "dict[str, float]" = field(default_factory=lambda: defaultdict(float))
    _was_ready: "dict[str, float]" = field(default_factory=lambda: defaultdict(float))
    _last_change: int = 0

    def __post_init__(self) -> None:
        minimum = 0 if self.triggers.to_zero else self.size.min_replicas
        self.started_at = [-float(POD_START_S)] * self.size.min_replicas
        self.partitions = self.model.deployment.partitions.get(self.name)
        self.activation = Activation(COOLDOWN_S)
        up, down = (rules_of(SCALING_BEHAVIOR[direction]) for direction in ("scaleUp", "scaleDown"))
        self.autoscaler = Autoscaler(max(1, minimum), self.size.max_replicas, up, down)

    @property
    def replicas(self) -> int:
        """Pods, whether they work already or not."""
        return len(self.started_at)

    def ready(self, now_s: float) -> int:
        """Return the pods that work."""
        return sum(now_s - started_s >= POD_START_S for started_s in self.started_at)

    def cores(self, now_s: float) -> float:
        """Return the cores for rides: each pod has one; a pod without a partition has no work."""
        working = float(self.ready(now_s))
        if self.partitions and working:
            working = self.partitions / ceil(self.partitions / working)
        return service_cores(self.model.costs, self.name, working)

    def observe(self, now_s: int, second: SimulatedSecond, waiting: Sequence[float]) -> None:
        """Take the figures of one second; those of the management API change only every few seconds."""
        cost = self.model.costs.processes[self.name]
        own = [number for number, stage in enumerate(STAGES) if stage.service == self.name]
        worked_ms = sum(second.handled[number] * STAGES[number].share * cost.ms_per_ride for number in own)
        self.used_cores = self.ready(now_s) * cost.standing_cores + worked_ms / MS_PER_S
        is_due = (now_s + 1) % STATISTICS_INTERVAL_S == 0
        for service, queue in CONSUMED:
            if service != self.name:
                continue
            stages = [number for number in own if STAGES[number].queue == queue]
            messages = sum(waiting[number] * STAGES[number].messages for number in stages)
            self._published[queue] += sum(second.received[number] * STAGES[number].messages for number in stages)
            in_hand = min(messages, 2 * PREFETCH if self.partitions else self.ready(now_s) * PREFETCH)
            self.live[queue] = QueueStats(messages - in_hand, in_hand)
            if is_due:
                self._update_statistics(queue)

    def _update_statistics(self, queue: str) -> None:
        live = self.live[queue]
        published = self._published.pop(queue, 0.0)
        delivered = max(0.0, published + self._was_ready[queue] - live.ready)
        self._was_ready[queue] = live.ready
        rates = (published / STATISTICS_INTERVAL_S, delivered / STATISTICS_INTERVAL_S)
        self.stats[queue] = QueueStats(live.ready, live.unacknowledged, *rates)

    def scale(self, now_s: int) -> None:
        """Poll the triggers and synchronize the autoscaler, when they are due."""
        trigger = self.triggers.trigger
        seen = self.live if self.triggers.is_live else self.stats
        if self.triggers.to_zero and trigger and now_s % POLLING_INTERVAL_S == 0:
            is_active = any(map(trigger.is_active, seen.values()))
            self._set(now_s, self.activation.replicas(now_s, self.replicas, is_active=is_active))
        if now_s % SYNC_PERIOD_S == 0 and self.replicas and seen:
            desired = desired_replicas(self._metrics(seen), self.replicas, self.ready(now_s))
            self._set(now_s, self.autoscaler.scale(now_s, self.replicas, desired))

    def _metrics(self, seen: Mapping[str, QueueStats]) -> list[MetricValue]:
        target = self.model.assumptions.target_cores
        metrics = [MetricValue(self.used_cores, target)] if self.triggers.has_cpu else []
        if trigger := self.triggers.trigger:
            for queue, stats in seen.items():
                value = self.triggers.value or self._replica_rate(queue)
                metrics.append(MetricValue(trigger.metric(stats), value, self.triggers.average))
        return metrics

    def _replica_rate(self, queue: str) -> float:
        """Return the messages of a queue that one replica handles per second at its target share of a core."""
        per_ride = sum(stage.messages for stage in STAGES if stage.queue == queue)
        cost = self.model.costs.processes[self.name]
        return per_ride * cost.max_rides_per_s(self.model.assumptions.target_cores)

    def _set(self, now_s: float, replicas: int) -> None:
        change = replicas - self.replicas
        if change > 0:
            self.started_at += [now_s] * change
        elif change:
            del self.started_at[replicas:]
        if change:
            self.flaps += change > 0 > self._last_change
            self._last_change = change
        self.most = max(self.most, self.replicas)


def _processors(model: CapacityModel) -> Processors:
    """Return the processors of a cell whose services the replay scales, and whose servers are as large as assumed."""
    processors = cell_processors(model, 1.0)
    return Processors({**processors.cores, **server_cores(model)}, processors.demands, processors.refusal)


def replayed_load(burst: RecordedBurst, peak_per_s: float) -> list[float]:
    """Return the rides of each second: the recorded burst, scaled to a peak rate, between steady seconds."""
    scale = peak_per_s / burst.rides_per_s
    steady = STEADY_SHARE * peak_per_s
    recorded = [second.offered * scale for second in burst.seconds[: burst.duration_s]]
    return [*[steady] * BEFORE_S, *recorded, *[steady] * AFTER_S]


READY_ONLY = Trigger(Mode.QUEUE_LENGTH, ready_only=True)


def trigger_sets(messages_per_replica: float) -> tuple[TriggerSet, ...]:
    """Return the sets of triggers that are compared; the last but one is that of the manifests."""
    queue_length = Trigger(Mode.QUEUE_LENGTH)
    return (
        TriggerSet("cpu", has_cpu=True),
        TriggerSet("QueueLength, amqp", READY_ONLY, messages_per_replica, is_live=True),
        TriggerSet("QueueLength, http", queue_length, messages_per_replica),
        TriggerSet("QueueLength, http, excludeUnacknowledged", READY_ONLY, messages_per_replica),
        TriggerSet("MessageRate", Trigger(Mode.MESSAGE_RATE)),
        TriggerSet("DeliverGetRate", Trigger(Mode.DELIVER_GET_RATE)),
        TriggerSet("PublishedToDeliveredRatio", Trigger(Mode.PUBLISHED_TO_DELIVERED_RATIO), 1.0, average=False),
        TriggerSet("ExpectedQueueConsumptionTime", Trigger(Mode.EXPECTED_QUEUE_CONSUMPTION_TIME), 1.0, average=False),
        TriggerSet("cpu and QueueLength, http (manifests)", queue_length, messages_per_replica, has_cpu=True),
        TriggerSet("QueueLength, amqp, to zero", READY_ONLY, messages_per_replica, is_live=True, to_zero=True),
    )
