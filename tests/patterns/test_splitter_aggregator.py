"""Laws of splitter and aggregator, for any order and any repetition of deliveries."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.patterns.aggregator import (
    Aggregate,
    CompletenessCondition,
    GroupStatus,
    PartVerdict,
    all_parts,
    any_of,
    first_match,
)
from prebook.patterns.splitter import Part, split

MAX_SIZE = 8
ALL_RESULTS = "all results"
FIRST_FAILURE = "first failure"
DEADLINE = "deadline"
WAIT_FOR_ALL: CompletenessCondition[int, str] = all_parts(ALL_RESULTS)
STOP_AT_FAILURE: CompletenessCondition[int, str] = any_of(
    first_match(lambda result: result < 0, FIRST_FAILURE), WAIT_FOR_ALL
)
CONDITIONS = st.sampled_from([WAIT_FOR_ALL, STOP_AT_FAILURE])
ITEMS = st.lists(st.integers(-3, 3), min_size=1, max_size=MAX_SIZE)


@dataclass
class Receiver:
    """Aggregates of several groups, as a service keeps them, with the verdict on every received result."""

    condition: CompletenessCondition[int, str]
    groups: dict[str, Aggregate[int, str]] = field(default_factory=dict)
    verdicts: Counter[PartVerdict] = field(default_factory=Counter)
    completions: Counter[str] = field(default_factory=Counter)

    def receive(self, part: Part[int]) -> None:
        group = self.groups.setdefault(part.group_id, Aggregate(group_id=part.group_id, size=part.size))
        self.verdicts[group.verdict_on(part.number)] += 1
        self._replace(group, group.with_result(part.number, part.content, self.condition))

    def expire(self, group_id: str) -> None:
        if group_id in self.groups:
            group = self.groups[group_id]
            self._replace(group, group.completed(DEADLINE))

    def _replace(self, before: Aggregate[int, str], after: Aggregate[int, str]) -> None:
        self.completions[after.group_id] += after.completed_by is not None and before.completed_by is None
        self.groups[after.group_id] = after


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[Mapping[str, Sequence[int]], list[Part[int] | str]]:
    """Items by group, and their parts, some repeated and some lost, between deadlines of groups (their ids)."""
    groups = draw(st.dictionaries(st.sampled_from("abcd"), ITEMS, min_size=1))
    parts = [part for group_id, items in groups.items() for part in split(group_id, items, max_size=MAX_SIZE)]
    repeated = draw(st.lists(st.sampled_from(parts), max_size=8))
    kept = draw(st.lists(st.booleans(), min_size=len(parts), max_size=len(parts)))
    deadlines: list[Part[int] | str] = list(draw(st.lists(st.sampled_from(sorted(groups)), max_size=3)))
    sent = [part for part, is_kept in zip(parts, kept, strict=True) if is_kept]
    return groups, draw(st.permutations([*sent, *repeated, *deadlines]))


def receive_all(condition: CompletenessCondition[int, str], messages: Sequence[Part[int] | str]) -> Receiver:
    receiver = Receiver(condition)
    for message in messages:
        if isinstance(message, str):
            receiver.expire(message)
        else:
            receiver.receive(message)
    return receiver


@given(ITEMS)
def test_the_parts_of_a_message_are_its_items(items: list[int]) -> None:
    parts = split("g", items, max_size=MAX_SIZE)

    assert [part.content for part in sorted(parts, key=lambda part: part.number)] == items
    assert [part.number for part in parts] == list(range(1, len(items) + 1))
    assert {(part.group_id, part.size) for part in parts} == {("g", len(items))}


@pytest.mark.parametrize("size", [0, 1, 9])
def test_too_few_or_too_many_items_are_not_split(size: int) -> None:
    with pytest.raises(ValueError, match=f"has {size} items; split 2 to 8"):
        split("g", range(size), min_size=2, max_size=8)


@given(ITEMS, st.randoms())
def test_an_aggregate_of_all_parts_is_the_message_in_any_order(items: list[int], random: Random) -> None:
    parts = list(split("g", items, max_size=MAX_SIZE))
    random.shuffle(parts)
    (group,) = receive_all(WAIT_FOR_ALL, parts).groups.values()

    assert [group.results[number] for number in sorted(group.results)] == items
    assert (group.completed_by, group.status, group.missing) == (ALL_RESULTS, GroupStatus.COMPLETE, frozenset())


@given(CONDITIONS, deliveries())
def test_every_received_result_is_added_or_duplicate_or_late(
    condition: CompletenessCondition[int, str], sent: tuple[Mapping[str, Sequence[int]], list[Part[int] | str]]
) -> None:
    groups, messages = sent
    receiver = receive_all(condition, messages)
    received = [message for message in messages if isinstance(message, Part)]

    assert receiver.verdicts.total() == len(received)
    assert receiver.verdicts[PartVerdict.ADDED] == sum(len(group.results) for group in receiver.groups.values())
    for group in receiver.groups.values():  # each part is in the aggregate of its own group
        assert group.results.items() <= dict(enumerate(groups[group.group_id], 1)).items()


@given(CONDITIONS, deliveries())
def test_every_group_is_complete_or_partial_or_open_and_is_completed_once(
    condition: CompletenessCondition[int, str], sent: tuple[Mapping[str, Sequence[int]], list[Part[int] | str]]
) -> None:
    receiver = receive_all(condition, sent[1])
    for group in receiver.groups.values():
        is_open = group.status is GroupStatus.OPEN
        assert receiver.completions[group.group_id] == (not is_open)
        assert (group.completed_by is None) == is_open
        assert (group.status is GroupStatus.COMPLETE) == (not is_open and not group.missing)


@given(CONDITIONS, deliveries())
def test_a_completed_aggregate_never_changes(
    condition: CompletenessCondition[int, str], sent: tuple[Mapping[str, Sequence[int]], list[Part[int] | str]]
) -> None:
    first = receive_all(condition, sent[1])
    completed = {name: group for name, group in first.groups.items() if group.completed_by is not None}
    for message in sent[1]:
        if isinstance(message, Part):
            first.receive(message)
    assert {name: first.groups[name] for name in completed} == completed


@given(ITEMS)
def test_the_first_failure_completes_a_group_and_later_results_are_late(items: list[int]) -> None:
    receiver = receive_all(STOP_AT_FAILURE, split("g", items, max_size=MAX_SIZE))
    failures = [number for number, item in enumerate(items, 1) if item < 0]
    (group,) = receiver.groups.values()

    assert group.completed_by == (FIRST_FAILURE if failures else ALL_RESULTS)
    assert group.missing == set(range(failures[0] + 1, len(items) + 1) if failures else ())
    assert receiver.verdicts[PartVerdict.LATE] == len(group.missing)


@pytest.mark.parametrize("number", [0, 3])
def test_a_part_that_the_group_does_not_have_is_an_error(number: int) -> None:
    group: Aggregate[int, str] = Aggregate(group_id="g", size=2)
    with pytest.raises(ValueError, match=f"parts 1 to 2, and no part {number}"):
        group.with_result(number, 1, WAIT_FOR_ALL)
