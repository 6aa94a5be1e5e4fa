"""Metrics of KEDA's RabbitMQ trigger, by mode, and the activation of a scaled object. Pure.

Source: KEDA documentation, RabbitMQ Queue and ScaledObject specification; the formulas are those of its scaler. With
the protocol `http` it reads the management API, whose figures are up to 5 s old; with `amqp` it declares the queue
passively, which returns ready messages only.
"""

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """Modes of the trigger."""

    QUEUE_LENGTH = "QueueLength"
    MESSAGE_RATE = "MessageRate"
    DELIVER_GET_RATE = "DeliverGetRate"
    PUBLISHED_TO_DELIVERED_RATIO = "PublishedToDeliveredRatio"
    EXPECTED_QUEUE_CONSUMPTION_TIME = "ExpectedQueueConsumptionTime"


@dataclass(frozen=True)
class QueueStats:
    """State of a queue as a trigger sees it; rates per second."""

    ready: float = 0.0
    unacknowledged: float = 0.0
    published_per_s: float = 0.0
    delivered_per_s: float = 0.0


@dataclass(frozen=True)
class Trigger:
    """A trigger on a queue. ``ready_only``: as over `amqp`, or with ``excludeUnacknowledged``."""

    mode: Mode
    ready_only: bool = False
    activation_value: float = 0.0

    def metric(self, stats: QueueStats) -> float:
        """Return the value that the autoscaler divides by the target."""
        published, delivered = stats.published_per_s, stats.delivered_per_s
        match self.mode:
            case Mode.QUEUE_LENGTH:
                value = self._messages(stats)
            case Mode.MESSAGE_RATE:
                value = published
            case Mode.DELIVER_GET_RATE:
                value = delivered
            case Mode.PUBLISHED_TO_DELIVERED_RATIO:
                unknown = self.activation_value if published else 0.0
                value = published / delivered if delivered else unknown
            case Mode.EXPECTED_QUEUE_CONSUMPTION_TIME:
                waiting = published - delivered + self._messages(stats)
                value = waiting / delivered if delivered else self.activation_value
        return value

    def is_active(self, stats: QueueStats) -> bool:
        """Return whether the trigger keeps the scaled object above zero replicas."""
        value = self.metric(stats)
        match self.mode:
            case Mode.MESSAGE_RATE:
                return max(value, self._messages(stats)) > self.activation_value
            case Mode.PUBLISHED_TO_DELIVERED_RATIO:
                return value > self.activation_value or (stats.published_per_s > 0 and not stats.delivered_per_s)
            case Mode.EXPECTED_QUEUE_CONSUMPTION_TIME:
                return value > self.activation_value or not stats.delivered_per_s
        return value > self.activation_value

    def _messages(self, stats: QueueStats) -> float:
        return stats.ready if self.ready_only else stats.ready + stats.unacknowledged


@dataclass
class Activation:
    """Scaling between zero and one replica. Source: KEDA, ScaledObject, pollingInterval and cooldownPeriod."""

    cooldown_s: float
    active_at_s: float = 0.0

    def replicas(self, now_s: float, current: int, *, is_active: bool) -> int:
        """Return the replicas after a poll: one to wake up, zero after the cool-down, otherwise the current ones."""
        if is_active:
            self.active_at_s = now_s
            return max(1, current)
        return 0 if now_s - self.active_at_s >= self.cooldown_s else current
