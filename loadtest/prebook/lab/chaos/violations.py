"""Violations of a chaos run's invariants."""

from enum import StrEnum
from typing import NamedTuple


class ViolationKind(StrEnum):
    """Kind of a violated invariant. All but the last are fields of the printed result."""

    LOST = "lost"
    STUCK = "stuck"
    DUPLICATED = "duplicated"
    MISORDERED = "misordered"
    UNEXPLAINED = "unexplained"
    """Ended without an answer, and no fault can have caused it. Counts as lost too."""
    CONTRADICTORY = "contradictory"
    """Two sources contradict each other."""


class Violation(NamedTuple):
    """A violated invariant."""

    kind: ViolationKind
    subject: str
    """Booking id, the idempotency key if there is no booking, or the name of a shared resource."""
    detail: str
    """Expectation and observation, for the report."""
