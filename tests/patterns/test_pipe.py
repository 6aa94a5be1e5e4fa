"""Decisions of a pipe: capacity, slowest stage, limits of what it holds, and the drawing's hops."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.patterns.pipe import Pipe, PipeAccount, PipeStage

FILTER = PipeStage(name="filter")
ENRICH = PipeStage(name="enrich", parallelism=4)
PUSH = PipeStage(name="push", parallelism=2, batch_size=10, rate_per_s=50.0)


def pipe(*stages: PipeStage, **changes: Any) -> Pipe:
    return Pipe(**({"name": "feed", "source": "queue", "target": "city", "stages": stages} | changes))


STAGES = st.lists(
    st.builds(
        PipeStage,
        name=st.text(min_size=1, max_size=3),
        parallelism=st.integers(1, 8),
        batch_size=st.integers(1, 8),
        rate_per_s=st.none() | st.floats(0.1, 100.0),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda stage: stage.name,
)


@pytest.mark.parametrize(
    ("stage", "batch_s", "capacity"),
    [
        (PipeStage(name="one"), 0.02, 50.0),
        (PipeStage(name="parallel", parallelism=4), 0.02, 200.0),
        (PipeStage(name="batches", parallelism=2, batch_size=10), 0.2, 100.0),
        (PipeStage(name="limited", parallelism=4, rate_per_s=30.0), 0.02, 30.0),
        (PipeStage(name="slower than its limit", rate_per_s=30.0), 0.1, 10.0),
        (PipeStage(name="no time"), 0.0, math.inf),
    ],
    ids=lambda value: value.name if isinstance(value, PipeStage) else None,
)
def test_the_capacity_follows_from_parallelism_batch_size_time_and_rate(
    stage: PipeStage, batch_s: float, capacity: float
) -> None:
    assert stage.capacity_per_s(batch_s) == pytest.approx(capacity)


@given(STAGES, st.data())
def test_the_capacity_is_that_of_the_slowest_stage(stages: list[PipeStage], data: st.DataObject) -> None:
    times = {stage.name: data.draw(st.floats(0.001, 1.0)) for stage in stages}
    feed = pipe(*stages)
    assert feed.capacity_per_s(times) == min(stage.capacity_per_s(times[stage.name]) for stage in stages)
    slowest = feed.slowest(times)
    assert feed.behind(slowest) == feed.stages[feed.stages.index(slowest) + 1 :]


def test_a_pipe_holds_its_buffers_of_at_least_a_batch_and_what_its_stages_handle() -> None:
    assert pipe(FILTER, ENRICH, PUSH, buffer=3).max_held == (3 + 1) + (3 + 4) + (10 + 20)


def test_the_hops_lead_from_the_source_through_all_stages_to_the_target() -> None:
    assert pipe(FILTER, PUSH).hops() == (("queue", "filter"), ("filter", "push"), ("push", "city"))


@pytest.mark.parametrize(
    ("stages", "changes"),
    [
        ((), {}),
        ((FILTER, FILTER), {}),
        ((FILTER,), {"buffer": 0}),
        ((PipeStage(name="x", parallelism=0),), {}),
        ((PipeStage(name="x", batch_size=0),), {}),
        ((PipeStage(name="x", burst=0),), {}),
        ((PipeStage(name="x", rate_per_s=0.0),), {}),
    ],
)
def test_a_pipe_that_could_not_run_is_refused(stages: tuple[PipeStage, ...], changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="feed"):
        pipe(*stages, **changes)


def test_an_account_adds_up_all_ends_and_what_waits() -> None:
    account = PipeAccount(received=10, filtered=1, delivered=2, parked=3, waiting=4)
    assert account.accounted == account.received
