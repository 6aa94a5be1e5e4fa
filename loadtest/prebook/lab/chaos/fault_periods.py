"""Periods in which injected faults delayed work. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.lab.chaos.evidence import InjectedFault
from prebook.lab.faults.catalogue import FAULT_CATALOGUE
from prebook.lab.faults.effects import TRANSPORT_OF_COUPLING, FaultEffect, Transport, effect_of

CIRCUIT_MARGIN_S = 2.0
"""Seconds after a provider's return in which callers may still refuse to call it: their circuits cool down for 1 s."""
CIRCUIT_MARGIN = timedelta(seconds=CIRCUIT_MARGIN_S)


class Period(NamedTuple):
    """A period of time."""

    start: datetime
    end: datetime

    def overlaps(self, other: "Period") -> bool:
        """Return whether the two periods have a moment in common."""
        return self.start <= other.end and other.start <= self.end

    def widened(self, margin: timedelta) -> "Period":
        """Return the period with ``margin`` before and after it."""
        return Period(self.start - margin, self.end + margin)


@dataclass(frozen=True)
class FaultPeriod:
    """A fault from its injection until every service that it concerns was ready again."""

    name: str
    period: Period
    effect: FaultEffect


def fault_periods(faults: Iterable[InjectedFault], started_at: datetime) -> tuple[FaultPeriod, ...]:
    """Return the periods of ``faults``, those of unknown names excluded. ``started_at``: start of the arrivals."""
    return tuple(
        FaultPeriod(fault.name, period_of(fault, started_at), effect_of(FAULT_CATALOGUE[fault.name]))
        for fault in faults
        if fault.name in FAULT_CATALOGUE
    )


def period_of(fault: InjectedFault, started_at: datetime) -> Period:
    """Return the period of ``fault`` with its recovery."""
    start = started_at + timedelta(seconds=fault.at_s)
    return Period(start, start + timedelta(seconds=fault.duration_s + fault.recovery_s))


def delaying(
    periods: Iterable[FaultPeriod], flows: Sequence[str], plan: Mapping[str, Coupling]
) -> Iterator[FaultPeriod]:
    """Yield the ``periods`` that delay any of ``flows``."""
    for found in periods:
        if any(is_delayed(flow, plan[flow], found.effect) for flow in flows):
            yield found


def is_delayed(flow: str, coupling: Coupling, effect: FaultEffect) -> bool:
    """Return whether a fault delays ``flow``: the work of its caller or its provider, or the way between them.

    The reply to a synchronous call comes in the response, so the link to the caller is not used.
    """
    caller = FLOWS[flow].caller
    provider = FLOWS[flow].provider
    if coupling is Coupling.SYNC_API:
        return effect.delays({provider}, Transport.HTTP) or effect.delays({caller}, Transport.EDGE)
    return effect.delays({caller, provider}, TRANSPORT_OF_COUPLING[coupling])


def clipped(period: Period, within: Period) -> Period:
    """Return the part of ``period`` that lies in ``within``; the two overlap."""
    return Period(max(period.start, within.start), min(period.end, within.end))


def union_s(periods: Iterable[Period]) -> float:
    """Return the number of seconds that lie in at least one of ``periods``."""
    total = timedelta()
    covered_until: datetime | None = None
    for start, end in sorted(periods):
        if covered_until is None or end > covered_until:
            total += end - (start if covered_until is None else max(start, covered_until))
            covered_until = end
    return total.total_seconds()
