"""Result of an experiment: the document that --json prints, and what decides about the exit status."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec

from prebook.lab.experiments.experiment import Experiment, ResultPicture, ResultTable
from prebook.lab.experiments.host import HostInfo
from prebook.lab.experiments.law import LawCheck, LawVerdict


class ExperimentStatus(StrEnum):
    """Status of a run."""

    PASSED = "passed"
    FAILED = "failed"
    """A law was violated, or the wrong way did not violate it."""
    NOT_MEASURED = "not_measured"
    PREREQUISITE_ABSENT = "prerequisite_absent"
    """Not measured, because this machine lacks a declared prerequisite."""


PASSING = frozenset({ExperimentStatus.PASSED, ExperimentStatus.PREREQUISITE_ABSENT})


class ExperimentResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one run, with everything that a reader needs to judge and to repeat it."""

    schema: Literal["prebook.experiment/1"] = "prebook.experiment/1"
    name: str
    section: str
    claims: tuple[str, ...]
    pattern: str
    claim: str
    varies: str
    law: str
    wrong_way: str
    expected: str
    command: str
    """Command that repeats the run."""
    seed: int
    size: dict[str, Any]
    commit: str
    started_at: datetime
    seconds: float
    machine: HostInfo
    stack: dict[str, str]
    status: ExperimentStatus
    problems: tuple[str, ...]
    """Reasons of a status other than ``passed``."""
    checks: tuple[LawCheck, ...]
    tables: tuple[ResultTable, ...]
    pictures: tuple[ResultPicture, ...] = ()
    details: Any = None


def find_problems(experiment: Experiment[Any], checks: Sequence[LawCheck]) -> list[str]:
    """Return why ``checks`` do not show the claim: contradicted expectations, and sides that were not measured."""
    problems = [check.problem for check in checks if check.problem]
    if not any(check.expected is LawVerdict.HELD for check in checks):
        problems.append("no law was checked: the run measured nothing")
    if experiment.wrong_way and not any(check.expected is LawVerdict.VIOLATED for check in checks):
        problems.append("the wrong way was not run beside the right one")
    return problems


def exit_status(results: Iterable[ExperimentResult]) -> int:
    """Return 0 if every run passed or lacked a declared prerequisite, otherwise 1."""
    return 0 if all(result.status in PASSING for result in results) else 1
