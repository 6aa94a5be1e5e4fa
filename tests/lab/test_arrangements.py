"""What is concluded from the effects, and when the comparison is called as expected."""

import asyncio

import pytest
from click.testing import CliRunner

from prebook.lab.experiments import worker
from prebook.lab.experiments.ordering import command, consumer
from prebook.lab.experiments.ordering.command import MOST_MESSAGES, Compared, as_expected
from prebook.lab.experiments.ordering.consumer import Part
from prebook.lab.experiments.ordering.strategies import (
    EVERYTHING,
    Arrangement,
    Effect,
    Load,
    counted,
    sharing,
    standing_still,
)

LOAD = Load(keys=2, per_key=3, consumers=2, failing=1, seed=1)
A, B = LOAD.names()


def effects(*told: tuple[str, int]) -> list[Effect]:
    return [Effect(key, place, float(number)) for number, (key, place) in enumerate(told)]


@pytest.mark.parametrize(
    ("told", "violations", "lost", "doubled"),
    [
        (((A, 0), (B, 0), (A, 1), (A, 2), (B, 1), (B, 2)), 0, 0, 0),
        (((A, 1), (A, 0), (A, 2), (B, 0), (B, 1), (B, 2)), 1, 0, 0),
        (((A, 2), (A, 0), (A, 1), (B, 0), (B, 1), (B, 2)), 2, 0, 0),
        (((A, 0), (A, 1), (A, 2), (B, 0), (B, 2)), 0, 1, 0),
        (((A, 0), (A, 1), (A, 1), (A, 2), (B, 0), (B, 1), (B, 2)), 0, 0, 1),
    ],
)
def test_violations_losses_and_doubles_are_counted(
    told: tuple[tuple[str, int], ...], violations: int, lost: int, doubled: int
) -> None:
    counts = counted(LOAD, effects(*told))
    assert (counts.violations, counts.lost, counts.doubled) == (violations, lost, doubled)


def test_the_blast_radius_is_the_other_keys_that_stood_still() -> None:
    still = effects((A, 0), (B, 0), (A, 1), (B, 1), (A, 2), (B, 2))
    assert standing_still(LOAD, still, {(A, 2): 2.5}) == 0.0, "b went on meanwhile"
    held = [Effect(A, 0, 0), Effect(B, 0, 0), Effect(A, 1, 5), Effect(B, 1, 6), Effect(B, 2, 7), Effect(A, 2, 8)]
    assert standing_still(LOAD, held, {(A, 1): 1.0}) == 1.0
    assert standing_still(LOAD, [*held[:2], Effect(B, 1, 3), *held[2:]], {(A, 1): 1.0}) == 0.0


def test_all_keys_share_the_global_group_and_the_one_queue() -> None:
    load = Load(keys=12, per_key=2, consumers=2, failing=1, seed=1)
    failed = [(load.names()[0], 0)]
    assert Arrangement.GLOBAL.group_key(A) == Arrangement.GLOBAL.group_key(B) == EVERYTHING
    assert sharing(load, failed, Arrangement.GLOBAL) == sharing(load, failed, Arrangement.NAIVE) == 11
    assert sharing(load, failed, Arrangement.GROUPS) < 11


def test_the_messages_that_fail_are_drawn_from_the_seed_and_have_something_after_them() -> None:
    load = Load(keys=5, per_key=4, consumers=2, failing=6, seed=3)
    assert load.failures() == load.failures()
    assert len(load.failures()) == 6
    assert not [one for one in load.failures() if one.endswith(" 3")]


@pytest.mark.parametrize(
    ("name", "violations", "lost", "expected"),
    [
        (Arrangement.NAIVE, 3, 0, True),
        (Arrangement.NAIVE, 0, 0, False),
        (Arrangement.GROUPS, 0, 0, True),
        (Arrangement.GROUPS, 1, 0, False),
        (Arrangement.GLOBAL, 1, 0, False),
        (Arrangement.GLOBAL, 0, 1, False),
    ],
)
def test_order_is_kept_by_groups_alone_and_nothing_is_lost(
    name: Arrangement, violations: int, lost: int, expected: bool
) -> None:
    told = Compared(
        name=name, violations=violations, lost=lost, doubled=0, per_s=1, deliveries=1, stood_still=0, sharing=0
    )
    assert as_expected(told) is expected


GLOBAL_PER_S, RETRY_S = 64.0, 0.28
"""README's table, and the longest pause before a second attempt."""


def load(messages: int, failing: int) -> Load:
    return Load(keys=messages // 20, per_key=20, consumers=3, failing=failing, seed=7)


@pytest.mark.parametrize(("messages", "failing"), [(800, 12), (2_000, 1_000), (MOST_MESSAGES, 1_000)])
def test_the_time_that_a_run_may_take_grows_with_its_load(messages: int, failing: int) -> None:
    plausible_s = messages / GLOBAL_PER_S + failing * RETRY_S
    assert 3 * plausible_s < load(messages, failing).within_s < 10 * plausible_s


def test_a_consumer_lives_longer_than_its_run_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    lives: list[float] = []
    monkeypatch.setattr(worker, "live", lambda *_, within_s: lives.append(within_s))
    whole = load(MOST_MESSAGES, 12)
    consumer.live(Part(arrangement=Arrangement.GLOBAL, load=whole, run="r", number=0, url="", env={}, notes="", log=""))
    assert lives[0] > 2 * whole.within_s, "it is waited for twice: until one is killed, and until all is done"


async def test_a_party_that_hangs_is_ended_when_its_time_is_over() -> None:
    with pytest.raises(TimeoutError):
        await worker._in_time(asyncio.sleep(60), 0.01)


@pytest.mark.parametrize(("keys", "per_key"), [(1000, 1000), (1000, 21), (21, 1000)])
def test_more_messages_than_can_be_waited_for_are_refused(
    keys: int, per_key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "grounded", lambda: pytest.fail("started"))
    done = CliRunner().invoke(command.order, ["--keys", str(keys), "--per-key", str(per_key)])
    assert done.exit_code == 2
    assert "lower --keys or --per-key" in " ".join(done.output.replace("\u2502", " ").split())
