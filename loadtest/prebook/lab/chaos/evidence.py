"""Everything that a chaos run is judged by, gathered when all is at rest, each from a source of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from prebook.contracts.dead_letters import DeadLetterSummary
from prebook.lab.chaos.database import DatabaseState
from prebook.lab.ledger.reconciliation import Reconciliation, reconcile


class InjectedFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that was injected. ``at_s``: seconds from the start of the arrivals."""

    name: str
    at_s: float
    took_effect: bool
    duration_s: float = 0.0
    evidence: str = ""


@dataclass(frozen=True)
class Evidence:
    reconciliation: Reconciliation = field(default_factory=lambda: reconcile((), (), ()))
    """The generator's samples, booking's ledger and notification's deliveries, side by side."""
    database: DatabaseState = field(default_factory=DatabaseState)
    dead_letters: Sequence[DeadLetterSummary] = ()
    """What operations holds and nobody has resolved or discarded."""
    wire_duplicates: int = 0
    faults: Sequence[InjectedFault] = ()
    poison_sent: bool = False
    """Messages that can never work were sent on purpose: those are parked, and that is right."""
