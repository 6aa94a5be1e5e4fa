"""Pipes and filters: stages that take messages from a source, and pass on, filter out or park each of them.

A ``Pipe`` is a description; ``messaging.pipe_runner`` runs it. Between two stages is a buffer of a few items, so the
slowest stage holds back all stages before it, and the backlog waits in the source. Laws, whatever the stages do:

- received = filtered + delivered + parked + waiting;
- the throughput is that of the slowest stage; items wait before it, and not behind it.

Source: EIP, Pipes and Filters, Message Filter; Goldratt, The Goal (the bottleneck sets the pace).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeStage:
    """One step of a pipe, with the limits that determine its speed."""

    name: str
    parallelism: int = 1
    """Batches that the stage handles at a time."""
    batch_size: int = 1
    """Maximum number of items of a batch. A batch is smaller if fewer items wait."""
    rate_per_s: float | None = None
    """Maximum number of items per second; None: only the duration of a batch limits the stage."""
    burst: int = 1
    """Number of items by which a stage with a rate may catch up after a pause."""

    @property
    def max_held(self) -> int:
        """Maximum number of items that the stage handles at a time."""
        return self.parallelism * self.batch_size

    def capacity_per_s(self, batch_s: float) -> float:
        """Items per second that the stage can handle if a full batch takes ``batch_s`` seconds.

        Source: Little's law, with ``max_held`` items in the stage.
        """
        unlimited = self.max_held / batch_s if batch_s else math.inf
        return unlimited if self.rate_per_s is None else min(self.rate_per_s, unlimited)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """A source, the stages behind it in their order, and the size of the buffers between them.

    The last stage delivers. Raises ValueError if a value is not positive, or two stages have the same name.
    """

    name: str
    source: str
    """Queue that the pipe pulls from."""
    stages: tuple[PipeStage, ...]
    target: str
    """Name of the receiver that the last stage delivers to."""
    buffer: int = 4
    """Maximum number of items that wait before a stage; a stage with larger batches has a buffer of one batch."""

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"the stages of {self.name!r} need different names, and there must be one: {names}")
        numbers = [(stage.parallelism, stage.batch_size, stage.burst) for stage in self.stages]
        rates = [stage.rate_per_s for stage in self.stages if stage.rate_per_s is not None]
        if min((self.buffer, *(number for each in numbers for number in each))) < 1 or min(rates, default=1.0) <= 0:
            raise ValueError(f"buffer, parallelism, batch size, burst and rate of {self.name!r} must be positive")

    @property
    def max_held(self) -> int:
        """Maximum number of items that have left the source and are not settled."""
        return sum(self.buffer_size(stage) + stage.max_held for stage in self.stages)

    def buffer_size(self, stage: PipeStage) -> int:
        """Maximum number of items that wait before ``stage``."""
        return max(self.buffer, stage.batch_size)

    def slowest(self, batch_s: Mapping[str, float]) -> PipeStage:
        """Return the stage with the least capacity; the first of several. ``batch_s``: seconds of a batch, by stage."""
        return min(self.stages, key=lambda stage: stage.capacity_per_s(batch_s[stage.name]))

    def capacity_per_s(self, batch_s: Mapping[str, float]) -> float:
        """Items per second that the pipe can deliver: the capacity of its slowest stage."""
        return self.slowest(batch_s).capacity_per_s(batch_s[self.slowest(batch_s).name])

    def behind(self, stage: PipeStage) -> tuple[PipeStage, ...]:
        """Return the stages behind ``stage``."""
        return self.stages[self.stages.index(stage) + 1 :]

    def hops(self) -> tuple[tuple[str, str], ...]:
        """Return the pairs of neighbours from the source to the target. The first hop is pulled, all others pushed."""
        return tuple(pairwise((self.source, *(stage.name for stage in self.stages), self.target)))


@dataclass(frozen=True, slots=True)
class Passed(Generic[T]):
    """The item goes on to the next stage; behind the last stage it is delivered."""

    item: T


@dataclass(frozen=True, slots=True)
class Filtered:
    """The item is not wanted, and leaves the pipe."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The item can never pass the stage, and is parked with this cause, a machine-readable code."""

    cause: str
    reason: str = ""


StageVerdict = Passed[T] | Filtered | Refused
"""Decision of a stage about one item."""


class PipeEnd(StrEnum):
    """Way in which an item leaves the pipe."""

    FILTERED = "filtered"
    DELIVERED = "delivered"
    PARKED = "parked"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeAccount:
    """Number of items by their end, as counted in one place: by the pipe, or by those that see its effects."""

    received: int
    filtered: int
    delivered: int
    parked: int
    waiting: int
    """Items in the source and between the stages."""

    @property
    def accounted(self) -> int:
        """Items whose place is known; in a pipe that loses and repeats nothing, all that were received."""
        return self.filtered + self.delivered + self.parked + self.waiting
