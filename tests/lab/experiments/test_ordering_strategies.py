"""Counts of order violations, time limits, and the expected result of the ordering experiment."""

import asyncio

import pytest
from click.testing import CliRunner

from prebook.lab.experiments import runner, worker
from prebook.lab.experiments.command import lab
from prebook.lab.experiments.ordering import consumer
from prebook.lab.experiments.ordering.consumer import OrderingWorkerSpec
from prebook.lab.experiments.ordering.registration import COMPLETE, LAW, MAX_MESSAGES, StrategySummary, order_checks
from prebook.lab.experiments.ordering.strategies import (
    GLOBAL_KEY,
    AppliedMessage,
    OrderingLoad,
    OrderingStrategy,
    mean_partition_neighbours,
    mean_stalled_keys,
    ordering_counts,
)

LOAD = OrderingLoad(keys=2, per_key=3, consumers=2, failing=1, seed=1)
A, B = LOAD.key_names()


def effects_in_order(*messages: tuple[str, int]) -> list[AppliedMessage]:
    return [AppliedMessage(key, position, float(number)) for number, (key, position) in enumerate(messages)]


@pytest.mark.parametrize(
    ("messages", "violations", "lost", "duplicated"),
    [
        (((A, 0), (B, 0), (A, 1), (A, 2), (B, 1), (B, 2)), 0, 0, 0),
        (((A, 1), (A, 0), (A, 2), (B, 0), (B, 1), (B, 2)), 1, 0, 0),
        (((A, 2), (A, 0), (A, 1), (B, 0), (B, 1), (B, 2)), 2, 0, 0),
        (((A, 0), (A, 1), (A, 2), (B, 0), (B, 2)), 0, 1, 0),
        (((A, 0), (A, 1), (A, 1), (A, 2), (B, 0), (B, 1), (B, 2)), 0, 0, 1),
    ],
)
def test_violations_lost_and_doubled_messages_are_counted(
    messages: tuple[tuple[str, int], ...], violations: int, lost: int, duplicated: int
) -> None:
    counts = ordering_counts(LOAD, effects_in_order(*messages))
    assert (counts.violations, counts.lost, counts.duplicated) == (violations, lost, duplicated)


def test_the_blast_radius_counts_other_keys_without_progress() -> None:
    alternating = effects_in_order((A, 0), (B, 0), (A, 1), (B, 1), (A, 2), (B, 2))
    assert mean_stalled_keys(LOAD, alternating, {(A, 2): 2.5}) == 0.0, "the other key makes progress during this time"
    stalled = [
        AppliedMessage(A, 0, 0),
        AppliedMessage(B, 0, 0),
        AppliedMessage(A, 1, 5),
        AppliedMessage(B, 1, 6),
        AppliedMessage(B, 2, 7),
        AppliedMessage(A, 2, 8),
    ]
    assert mean_stalled_keys(LOAD, stalled, {(A, 1): 1.0}) == 1.0
    assert mean_stalled_keys(LOAD, [*stalled[:2], AppliedMessage(B, 1, 3), *stalled[2:]], {(A, 1): 1.0}) == 0.0


def test_all_keys_are_neighbours_in_the_global_group_and_in_one_queue() -> None:
    load = OrderingLoad(keys=12, per_key=2, consumers=2, failing=1, seed=1)
    failed = [(load.key_names()[0], 0)]
    assert OrderingStrategy.GLOBAL_GROUP.ordering_key(A) == OrderingStrategy.GLOBAL_GROUP.ordering_key(B) == GLOBAL_KEY
    assert (
        mean_partition_neighbours(load, failed, OrderingStrategy.GLOBAL_GROUP)
        == mean_partition_neighbours(load, failed, OrderingStrategy.COMPETING_CONSUMERS)
        == 11
    )
    assert mean_partition_neighbours(load, failed, OrderingStrategy.MESSAGE_GROUPS) < 11


def test_failing_messages_follow_from_the_seed_and_are_never_the_last_of_a_key() -> None:
    load = OrderingLoad(keys=5, per_key=4, consumers=2, failing=6, seed=3)
    assert load.failing_messages() == load.failing_messages()
    assert len(load.failing_messages()) == 6
    assert not [message for message in load.failing_messages() if message.endswith(" 3")]


def summary(name: OrderingStrategy, violations: int, lost: int) -> StrategySummary:
    return StrategySummary(
        name=name,
        violations=violations,
        lost=lost,
        duplicated=0,
        messages_per_s=1,
        deliveries=1,
        stalled_keys=0,
        partition_neighbours=0,
    )


@pytest.mark.parametrize(
    ("name", "violations", "lost", "problems"),
    [
        (OrderingStrategy.COMPETING_CONSUMERS, 3, 0, []),
        (OrderingStrategy.COMPETING_CONSUMERS, 0, 0, [LAW]),
        (OrderingStrategy.COMPETING_CONSUMERS, 3, 1, [COMPLETE]),
        (OrderingStrategy.MESSAGE_GROUPS, 0, 0, []),
        (OrderingStrategy.MESSAGE_GROUPS, 1, 0, [LAW]),
        (OrderingStrategy.GLOBAL_GROUP, 1, 0, [LAW]),
        (OrderingStrategy.GLOBAL_GROUP, 0, 1, [COMPLETE]),
    ],
)
def test_groups_keep_the_order_competing_consumers_do_not_and_nothing_is_lost(
    name: OrderingStrategy, violations: int, lost: int, problems: list[str]
) -> None:
    checks = order_checks(summary(name, violations, lost))
    assert [check.law for check in checks if not check.is_as_expected] == problems


GLOBAL_PER_S = 64.0
RETRY_S = 0.28
"""Rate of the global group in README's table, and the longest delay before a second attempt."""


def load_of(messages: int, failing: int) -> OrderingLoad:
    return OrderingLoad(keys=messages // 20, per_key=20, consumers=3, failing=failing, seed=7)


@pytest.mark.parametrize(("messages", "failing"), [(800, 12), (2_000, 1_000), (MAX_MESSAGES, 1_000)])
def test_the_time_limit_of_a_run_grows_with_its_load(messages: int, failing: int) -> None:
    expected_s = messages / GLOBAL_PER_S + failing * RETRY_S
    assert 3 * expected_s < load_of(messages, failing).timeout_s < 10 * expected_s


def test_the_time_limit_of_a_consumer_exceeds_that_of_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    time_limits: list[float] = []
    monkeypatch.setattr(worker, "run_worker", lambda *_, timeout_s: time_limits.append(timeout_s))
    largest_load = load_of(MAX_MESSAGES, 12)
    consumer.run(
        OrderingWorkerSpec(
            strategy=OrderingStrategy.GLOBAL_GROUP,
            load=largest_load,
            run="r",
            consumer_number=0,
            amqp_url="",
            env={},
            progress_path="",
            log_file="",
        )
    )
    assert time_limits[0] > 2 * largest_load.timeout_s, (
        "two waits: until one consumer is killed, and until all messages are handled"
    )


async def test_a_hanging_worker_is_ended_at_its_time_limit() -> None:
    with pytest.raises(TimeoutError):
        await worker._run_with_timeout(asyncio.sleep(60), 0.01)


@pytest.mark.parametrize(("keys", "per_key"), [(1000, 1000), (1000, 21), (21, 1000)])
def test_more_than_the_maximum_number_of_messages_is_a_usage_error(
    keys: int, per_key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "start_testbed", lambda: pytest.fail("started"))
    done = CliRunner().invoke(lab, ["run", "order", "--keys", str(keys), "--per-key", str(per_key)])
    assert done.exit_code == 2
    assert "lower --keys or --per-key" in " ".join(done.output.replace("\u2502", " ").split())
