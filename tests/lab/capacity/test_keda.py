"""Formulas of KEDA's trigger and of the Horizontal Pod Autoscaler, against the examples of their documentation."""

from itertools import pairwise

import pytest

from prebook.kubernetes.generation.scaling import SCALING_BEHAVIOR
from prebook.lab.capacity.hpa import Autoscaler, MetricValue, ScalingPolicy, ScalingRules, desired_replicas, rules_of
from prebook.lab.capacity.keda import Activation, Mode, QueueStats, Trigger

BACKLOG = QueueStats(ready=100, unacknowledged=60, published_per_s=50, delivered_per_s=40)
HANGING = QueueStats(ready=100, unacknowledged=60, published_per_s=50)
IN_HAND = QueueStats(unacknowledged=60, published_per_s=10, delivered_per_s=10)


@pytest.mark.parametrize(
    ("trigger", "stats", "metric", "active"),
    [
        (Trigger(Mode.QUEUE_LENGTH), BACKLOG, 160, True),
        (Trigger(Mode.QUEUE_LENGTH, ready_only=True), BACKLOG, 100, True),
        (Trigger(Mode.QUEUE_LENGTH, ready_only=True), IN_HAND, 0, False),
        (Trigger(Mode.MESSAGE_RATE), BACKLOG, 50, True),
        (Trigger(Mode.MESSAGE_RATE), QueueStats(ready=1), 0, True),
        (Trigger(Mode.DELIVER_GET_RATE), BACKLOG, 40, True),
        (Trigger(Mode.DELIVER_GET_RATE), HANGING, 0, False),
        (Trigger(Mode.PUBLISHED_TO_DELIVERED_RATIO), BACKLOG, 1.25, True),
        (Trigger(Mode.PUBLISHED_TO_DELIVERED_RATIO, activation_value=2), HANGING, 2, True),
        (Trigger(Mode.PUBLISHED_TO_DELIVERED_RATIO), QueueStats(ready=9), 0, False),
        (Trigger(Mode.EXPECTED_QUEUE_CONSUMPTION_TIME), BACKLOG, 10 / 40 + 160 / 40, True),
        (Trigger(Mode.EXPECTED_QUEUE_CONSUMPTION_TIME), HANGING, 0, True),
    ],
)
def test_every_mode_has_its_metric_and_its_activation(
    trigger: Trigger, stats: QueueStats, metric: float, active: bool
) -> None:
    assert trigger.metric(stats) == pytest.approx(metric)
    assert trigger.is_active(stats) is active


@pytest.mark.parametrize(
    ("metrics", "current", "ready", "desired"),
    [
        ([MetricValue(1000, 200)], 2, 2, 5),
        ([MetricValue(430, 200)], 2, 2, 2),  # 7 % above the target
        ([MetricValue(100, 200)], 4, 4, 1),
        ([MetricValue(2.0, 1.0, average=False)], 3, 3, 6),
        ([MetricValue(2.0, 1.0, average=False)], 4, 2, 4),  # of the ready ones
        ([MetricValue(100, 200), MetricValue(1000, 200)], 2, 2, 5),
        ([], 3, 3, 3),
    ],
)
def test_the_largest_recommendation_wins(metrics: list[MetricValue], current: int, ready: int, desired: int) -> None:
    assert desired_replicas(metrics, current, ready) == desired


def manifest_autoscaler(maximum: int = 8) -> Autoscaler:
    up, down = (rules_of(SCALING_BEHAVIOR[direction]) for direction in ("scaleUp", "scaleDown"))
    return Autoscaler(2, maximum, up, down)


def test_replicas_double_in_thirty_seconds_up_to_the_maximum() -> None:
    autoscaler = manifest_autoscaler()
    replicas, seen = 2, []
    for step in range(6):
        replicas = autoscaler.scale(15.0 * step, replicas, 20)
        seen.append(replicas)
    assert seen == [4, 4, 8, 8, 8, 8]


def test_pods_go_one_by_one_after_five_minutes_of_calm() -> None:
    autoscaler = manifest_autoscaler()
    replicas = autoscaler.scale(0.0, 4, 8)
    removed_at = []
    for step in range(1, 80):
        now_s = 15.0 * step
        after = autoscaler.scale(now_s, replicas, 2)
        if after < replicas:
            removed_at.append((now_s, replicas - after))
        replicas = after
    assert removed_at[0][0] == 315.0
    assert {count for _, count in removed_at} == {1}
    assert {b[0] - a[0] for a, b in pairwise(removed_at)} == {120.0}
    assert replicas == 2


def test_a_percentage_is_of_the_start_of_the_period() -> None:
    rules = ScalingRules(0, [ScalingPolicy("Percent", 50, 60)])
    autoscaler = Autoscaler(1, 100, rules, rules)
    first = autoscaler.scale(0.0, 10, 100)
    assert (first, autoscaler.scale(15.0, first, 100), autoscaler.scale(60.0, first, 100)) == (15, 15, 23)


def test_zero_comes_only_after_the_cool_down() -> None:
    activation = Activation(300.0)
    assert activation.replicas(100.0, 2, is_active=True) == 2
    assert activation.replicas(399.0, 2, is_active=False) == 2
    assert activation.replicas(400.0, 2, is_active=False) == 0
    assert activation.replicas(415.0, 0, is_active=True) == 1
