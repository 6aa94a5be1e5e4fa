"""Arithmetic of the Horizontal Pod Autoscaler. Pure.

Source: Kubernetes documentation, Horizontal Pod Autoscaling: algorithm details, scaling policies, stabilization window.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any

SYNC_PERIOD_S = 15.0
TOLERANCE = 0.1
"""Share of the target within which the number of replicas stays."""


@dataclass(frozen=True)
class MetricValue:
    """A metric and its target. ``average``: the target is for each replica (AverageValue), else for all (Value)."""

    value: float
    target: float
    average: bool = True


def desired_replicas(metrics: Sequence[MetricValue], current: int, ready: int) -> int:
    """Return the largest recommendation of all metrics; a ratio within the tolerance recommends the current number."""
    return max((_recommendation(metric, current, ready) for metric in metrics), default=current)


def _recommendation(metric: MetricValue, current: int, ready: int) -> int:
    ratio = metric.value / (metric.target * (current if metric.average else 1))
    if abs(ratio - 1.0) <= TOLERANCE:
        return current
    return ceil(metric.value / metric.target) if metric.average else ceil(ratio * ready)


@dataclass(frozen=True)
class ScalingPolicy:
    """Largest change in a period. ``kind``: ``Pods`` or ``Percent``."""

    kind: str
    value: int
    period_s: float

    def limit(self, start: int, sign: int) -> int:
        """Return the number of replicas that may be reached from the ``start`` of the period."""
        if self.kind == "Pods":
            return start + sign * self.value
        changed = start * (1 + sign * self.value / 100)
        return ceil(changed) if sign > 0 else floor(changed)


@dataclass(frozen=True)
class ScalingRules:
    """Behaviour in one direction: the window in which the most cautious recommendation wins, and the policies."""

    window_s: float
    policies: Sequence[ScalingPolicy]


@dataclass
class Autoscaler:
    """One autoscaler: its bounds, its behaviour, and the recommendations and changes that it remembers."""

    minimum: int
    maximum: int
    up: ScalingRules
    down: ScalingRules
    recommendations: list[tuple[float, int]] = field(default_factory=list)
    changes: list[tuple[float, int]] = field(default_factory=list)

    def scale(self, now_s: float, current: int, desired: int) -> int:
        """Return the replicas after one synchronization."""
        self.recommendations.append((now_s, desired))
        lowest = min(value for at_s, value in self.recommendations if now_s - at_s <= self.up.window_s)
        highest = max(value for at_s, value in self.recommendations if now_s - at_s <= self.down.window_s)
        stabilized = min(max(current, lowest), highest)
        bounded = max(self.minimum, min(self.maximum, stabilized))
        result = self._limited(now_s, current, bounded)
        if result != current:
            self.changes.append((now_s, result - current))
        return result

    def _limited(self, now_s: float, current: int, wanted: int) -> int:
        """Keep the change within the policy that allows the largest one."""
        if wanted == current:
            return current
        sign = 1 if wanted > current else -1
        rules = self.up if sign > 0 else self.down
        limits = []
        for policy in rules.policies:
            since = [change for at_s, change in self.changes if now_s - at_s < policy.period_s]
            limits.append(policy.limit(current - sum(since), sign))
        if sign > 0:
            return min(wanted, max(current, *limits))
        return max(wanted, min(current, *limits))


def rules_of(behavior: Mapping[str, Any]) -> ScalingRules:
    """Return the rules of one direction of a manifest's ``behavior``."""
    policies = [ScalingPolicy(each["type"], each["value"], each["periodSeconds"]) for each in behavior["policies"]]
    return ScalingRules(behavior["stabilizationWindowSeconds"], policies)
