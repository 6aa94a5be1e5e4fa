"""Evidence for the verdict of a chaos run, gathered after the load has settled, each item from its own source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import msgspec

from prebook.contracts.dead_letters import DeadLetterSummary
from prebook.lab.chaos.callbacks import ReceivedCallback
from prebook.lab.chaos.database import DatabaseState
from prebook.lab.chaos.repeated_keys import Repetition
from prebook.lab.chaos.slowness import SlowPeriod
from prebook.lab.ledger.reconciliation import Reconciliation, reconcile
from prebook.lab.load.samples import Sample
from prebook.lab.suite_client.flow_limits import FlowLimits


class InjectedFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as it was injected.

    ``at_s``: seconds from the start of the arrivals. ``recovery_s``: seconds from its end until every service that it
    concerns was ready again. ``evidence``: the observation that shows its effect, as text.
    """

    name: str
    at_s: float
    took_effect: bool
    duration_s: float = 0.0
    recovery_s: float = 0.0
    evidence: str = ""


class Cancellation(NamedTuple):
    """A rider's request to cancel a booking, and its response.

    ``status``: None without a response, after a transport's ``error``, as in Sample.
    """

    booking_id: str
    sent_at: datetime
    status: int | None
    answered_at: datetime
    error: str | None = None


@dataclass(frozen=True)
class Evidence:
    """Input of the judge: what the load generator, the services, their tables and the fault injector recorded."""

    started_at: datetime
    """Start of the arrivals, from which the times of the faults count."""
    flow_limits: Mapping[str, FlowLimits]
    """Flow -> its time limits in this suite."""
    reconciliation: Reconciliation = field(default_factory=lambda: reconcile((), (), ()))
    """Samples of the load generator, ledger of booking and deliveries of notification, joined per booking."""
    database: DatabaseState = field(default_factory=DatabaseState)
    """Rows of the run's bookings in the services' tables."""
    dead_letters: Sequence[DeadLetterSummary] = ()
    """Dead letters that operations keeps in parking, neither resolved nor discarded."""
    wire_duplicates: int = 0
    """Messages that services received more than once."""
    cancellations: Sequence[Cancellation] = ()
    repetitions: Sequence[Repetition] = ()
    """Requests that repeated a key. The samples hold what their riders know after all attempts."""
    first_samples: Sequence[Sample] = ()
    """The samples of the first requests, each with its own response."""
    callbacks: Sequence[ReceivedCallback] | None = None
    """Callbacks to the riders' system, in the order of their arrival; None if the requests named none."""
    slow: Sequence[SlowPeriod] = ()
    """Readiness checks that were slow or got no response."""
    faults: Sequence[InjectedFault] = ()
