"""Aggregator: collects the results of the parts of a group until a completeness condition holds.

An aggregate is a value; whoever keeps it stores it in the transaction that records the part, so that a crash loses
neither. Laws, whatever the order and number of deliveries:

- a part is in one aggregate, once: results added + duplicates + late results = results received;
- an aggregate is completed once, by one reason, and never changes again;
- groups = complete + partial + open.

Source: EIP, Aggregator (correlation, completeness condition, aggregation algorithm) and Idempotent Receiver.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Generic, TypeVar

R = TypeVar("R")
"""Result of a part."""
C = TypeVar("C")
"""Reason for the completion."""


class PartVerdict(StrEnum):
    """Effect of a received result."""

    ADDED = "added"
    DUPLICATE = "duplicate"
    """The aggregate has a result of the part already."""
    LATE = "late"
    """The aggregate was completed without the part."""


class GroupStatus(StrEnum):
    """Status of a group; every group has exactly one."""

    OPEN = "open"
    COMPLETE = "complete"
    """Completed with the results of all parts."""
    PARTIAL = "partial"
    """Completed before the results of all parts were there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate(Generic[R, C]):
    """Results of the parts of one group; every change returns the next aggregate."""

    group_id: str
    size: int
    """Number of parts of the group."""
    results: Mapping[int, R] = field(default_factory=dict)
    """Results by number of the part, from 1."""
    completed_by: C | None = None
    """Reason for the completion; None while the group is open."""

    @property
    def missing(self) -> frozenset[int]:
        """Numbers of the parts without a result."""
        return frozenset(range(1, self.size + 1)) - self.results.keys()

    @property
    def status(self) -> GroupStatus:
        """Status of the group."""
        if self.completed_by is None:
            return GroupStatus.OPEN
        return GroupStatus.PARTIAL if self.missing else GroupStatus.COMPLETE

    def verdict_on(self, number: int) -> PartVerdict:
        """Effect that a result of this part has now. Raises ValueError if the group has no such part."""
        if not 1 <= number <= self.size:
            raise ValueError(f"group {self.group_id!r} has parts 1 to {self.size}, and no part {number}")
        if number in self.results:
            return PartVerdict.DUPLICATE
        return PartVerdict.ADDED if self.completed_by is None else PartVerdict.LATE

    def with_result(self, number: int, result: R, condition: "CompletenessCondition[R, C]") -> "Aggregate[R, C]":
        """Return the aggregate with a part's result, completed if ``condition`` says so.

        A duplicate or late result changes nothing. Raises ValueError if the group has no such part.
        """
        if self.verdict_on(number) is not PartVerdict.ADDED:
            return self
        grown = replace(self, results={**self.results, number: result})
        return replace(grown, completed_by=condition(grown))

    def completed(self, reason: C) -> "Aggregate[R, C]":
        """Return the aggregate, completed for a reason outside of its results, such as a deadline.

        A completed aggregate is returned as it is.
        """
        return self if self.completed_by is not None else replace(self, completed_by=reason)


CompletenessCondition = Callable[[Aggregate[R, C]], C | None]
"""Decides after each new result whether, and why, an open aggregate is complete; None: it stays open."""


def all_parts(reason: C) -> CompletenessCondition[R, C]:
    """Return the condition that the results of all parts are there. Source: EIP, Aggregator, "Wait for All"."""
    return lambda aggregate: None if aggregate.missing else reason


def first_match(is_match: Callable[[R], bool], reason: C) -> CompletenessCondition[R, C]:
    """Return the condition that one result matches. Source: EIP, Aggregator, "First Best"."""
    return lambda aggregate: reason if any(map(is_match, aggregate.results.values())) else None


def any_of(*conditions: CompletenessCondition[R, C]) -> CompletenessCondition[R, C]:
    """Return the condition that one of ``conditions`` holds; the first of them that does gives the reason."""

    def condition(aggregate: Aggregate[R, C]) -> C | None:
        return next((reason for each in conditions if (reason := each(aggregate)) is not None), None)

    return condition
