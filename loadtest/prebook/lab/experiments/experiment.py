"""Experiments as values: the claim, what is varied, the law, the wrong way beside the right one, sizes and limits.

Source of the claims: the talk "Advanced integration patterns & trade-offs for loosely coupled systems" (re:Invent 2023,
API309).
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, Self, TypeVar

import msgspec
import rich_click as click

from prebook.devstack.parameters import FiniteRange
from prebook.devstack.servers import Log
from prebook.lab.experiments.law import LawCheck
from prebook.lab.experiments.testbed import ExperimentTestbed
from prebook.topology.values import Topology


class Section(StrEnum):
    """Sections of the talk that have experiments, in its order."""

    COUPLING = "coupling"
    PATTERNS = "patterns"
    CONTROL_FLOW = "control-flow"
    ORDERING = "ordering"
    DELIVERY = "delivery"
    ERRORS = "errors"
    AUTOMATION = "automation"


SECTION_TITLES = {
    Section.COUPLING: "Coupling",
    Section.PATTERNS: "Integration patterns",
    Section.CONTROL_FLOW: "Control flow and flow control",
    Section.ORDERING: "Message order",
    Section.DELIVERY: "Delivery and duplicates",
    Section.ERRORS: "Errors, retries and dead letters",
    Section.AUTOMATION: "Automation: one typed model",
}


T = TypeVar("T")
NameT = TypeVar("NameT", bound=str)


class ResultTable(msgspec.Struct, frozen=True, kw_only=True):
    """Table of a result; each row has one cell per column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    @classmethod
    def by_arrangement(
        cls,
        title: str,
        columns: Sequence[str],
        seen: Mapping[NameT, T],
        cells: Callable[[T], Iterable[object]],
        caption: str,
    ) -> Self:
        """Return a table with a row for each arrangement of ``seen``: its name, and ``cells`` of what it has shown."""
        rows = tuple((str(name), *map(str, cells(own))) for name, own in seen.items())
        return cls(title=title, columns=tuple(columns), rows=rows, caption=caption)


class ResultPicture(msgspec.Struct, frozen=True, kw_only=True):
    """Picture of a result: an SVG document. ``title``: what it shows, for a reader who does not see it."""

    title: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Outcome of one run: checks of its laws, tables for readers, and ``details`` that can be encoded as JSON."""

    checks: Sequence[LawCheck]
    tables: Sequence[ResultTable]
    pictures: Sequence[ResultPicture] = ()
    details: Any = None


@dataclass(frozen=True)
class ExperimentRun:
    """One run: its seed, its line of progress, and the servers, which it shares with other experiments."""

    seed: int
    log: Log = field(repr=False)
    testbed: ExperimentTestbed = field(repr=False)


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of an experiment. Each has an option of the same name; the defaults are the full size."""


S = TypeVar("S", bound=Size)


@dataclass(frozen=True)
class SizeOption:
    """Option of `prebook lab run` for the field ``name`` of a size."""

    name: str
    type: click.IntRange | FiniteRange | click.Choice[str]
    help: str


@dataclass(frozen=True)
class Prerequisite:
    """Something that a machine may lack. ``missing``: returns the reason why it is absent, or an empty text."""

    name: str
    missing: Callable[[ExperimentTestbed], str]


@dataclass(frozen=True, kw_only=True)
class Experiment(Generic[S]):
    """An experiment of the registry.

    ``claims``: ids of the talk's claims: section letter and number. ``law``: the relation, in words, that the right way
    keeps. ``wrong_way``: the arrangement run beside it, and what it gets wrong. ``time_limit_s`` and
    ``quick_time_limit_s``: seconds after which a run of the full or quick size counts as not measured; several times
    the duration on two idle cores, because a busy machine must not end a run that makes progress. ``worker_modules``:
    modules of its worker processes.
    """

    name: str
    section: Section
    claims: tuple[str, ...]
    pattern: str = ""
    """Name of the pattern and its source; empty if the experiment shows no single pattern."""
    code: str = ""
    """File of the pattern's building block in the product; empty if the experiment shows no single pattern."""
    claim: str
    varies: str
    law: str
    wrong_way: str
    expected: str
    full: S
    quick: S
    options: tuple[SizeOption, ...] = ()
    measure: Callable[[ExperimentRun, S], Awaitable[Measurement]]
    topology: Topology = field(default_factory=Topology)
    """Queues and exchanges in addition to the suite's."""
    prerequisites: tuple[Prerequisite, ...] = ()
    worker_modules: tuple[str, ...] = ()
    time_limit_s: float = 360.0
    quick_time_limit_s: float = 180.0

    @cached_property
    def option_names(self) -> tuple[str, ...]:
        """Names of the size's options."""
        return tuple(option.name for option in self.options)

    def check_size(self, size: S) -> None:
        """Check a size that a user has chosen. Raises click.UsageError."""
        if problem := self.size_problem(size):
            raise click.UsageError(problem)

    size_problem: Callable[[S], str] = field(default=lambda _: "")
    """Returns the reason why a size is not allowed, or an empty text."""
