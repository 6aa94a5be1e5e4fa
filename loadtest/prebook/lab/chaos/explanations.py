"""Explanations: which injected faults can have kept a ride from its answer. Pure.

A request of a coupling that waits reaches its provider as soon as both are back, so only faults that last as long as
its deadline can end it. A synchronous call fails at once, so any fault of its two services during the call can.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from prebook.flows import ASK_FLEET, FIND_DRIVER, FLOWS, QUOTE_FARE, SERVICES
from prebook.lab.chaos.evidence import InjectedFault
from prebook.lab.chaos.slowness import SLOW_RESPONSE_S, SlowPeriod
from prebook.lab.faults.catalogue import FAULT_CATALOGUE
from prebook.lab.faults.effects import TRANSPORT_OF_COUPLING, WAITING_COUPLINGS, FaultEffect, Transport, effect_of
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.ledger.recovery_time import known_at
from prebook.lab.load.generator import REQUEST_TIMEOUT_S
from prebook.lab.suite_client.flow_limits import FlowLimits

CIRCUIT_MARGIN_S = 2.0
"""Seconds after a provider's return in which callers may still refuse to call it: their circuits cool down for 1 s."""
RETRY_MARGIN_S = 10.0
"""Seconds between a provider's return and the next attempt at a message: the longest delay of the retry ladder is 7 s.
At most half of a deadline counts as such."""
SLOW_RIDE_S = 1.5
"""Seconds from request to outcome that count as slow: five times the usual, and half of a call's timeout."""

QUOTE = (QUOTE_FARE.name,)
DRIVER = (FIND_DRIVER.name, ASK_FLEET.name)
FLOWS_OF_REASON: Mapping[str, Sequence[str]] = {
    "no fare": QUOTE,
    "no driver": DRIVER,
    "quote expired": (*DRIVER, *QUOTE),
}
"""Reason of an end without an answer, up to its colon -> flows that were too slow; the first one's deadline counts."""
OFFERS_EXPIRED = "no driver: the fleets' offers have run out"
NO_DRIVER_OFFERED = "no driver: no fleet has a driver"
BOOKING_HAS_ENDED = "no driver: the booking has ended"
FLOWS_OF_REJECTION: Mapping[str, Sequence[str]] = {
    OFFERS_EXPIRED: DRIVER,
    NO_DRIVER_OFFERED: (ASK_FLEET.name,),
    BOOKING_HAS_ENDED: (),
}
"""Reason of a rejection that is no business decision -> flows as in FLOWS_OF_REASON. ``no fleet has a driver`` is one
if every fleet declined. No fault explains a rejection because of an earlier end of the same booking."""
UNANSWERED_STATES = frozenset({BookingState.EXPIRED, BookingState.FAILED})


class Period(NamedTuple):
    """A period of time."""

    start: datetime
    end: datetime

    def overlaps(self, other: "Period") -> bool:
        """Return whether the two periods have a moment in common."""
        return self.start <= other.end and other.start <= self.end


@dataclass(frozen=True)
class FaultPeriod:
    """A fault from its injection until every process of the suite was ready again."""

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


def overload_periods(
    slow: Iterable[SlowPeriod], accounts: Sequence[RideAccount], faults: Sequence[FaultPeriod]
) -> tuple[FaultPeriod, ...]:
    """Return the periods in which the machine was overloaded: work was slow that no fault of ``faults`` slowed down.

    Work: ``slow`` checks; of the rides that make no synchronous call, responses to their riders that took
    SLOW_RESPONSE_S or longer, and outcomes that took SLOW_RIDE_S or longer. An overload delays synchronous calls
    between all services, also shortly before and after it was observed.
    """
    margin = timedelta(seconds=CIRCUIT_MARGIN_S)
    checks = [*slow, *slow_responses(accounts)]
    periods = [
        *(check_period(found) for found in checks if not is_check_delayed(found, faults, margin)),
        *(waiting_period(account) for account in accounts if is_slow_ride(account, faults)),
    ]
    effect = FaultEffect(frozenset(SERVICES), frozenset({Transport.HTTP}))
    return tuple(FaultPeriod("overload", Period(start - margin, end + margin), effect) for start, end in periods)


def slow_responses(accounts: Iterable[RideAccount]) -> Iterator[SlowPeriod]:
    """Yield the slow responses of booking to requests for which it calls no other service."""
    for account in accounts:
        response_ms = account.sample.response_ms or 0.0
        if is_waiting_ride(account) and response_ms >= SLOW_RESPONSE_S * 1e3:
            start = account.sample.intended_at
            yield SlowPeriod("booking", start, start + timedelta(milliseconds=response_ms))


def check_period(check: SlowPeriod) -> Period:
    """Return the time that a readiness check took."""
    return Period(check.started_at, check.ended_at)


def is_check_delayed(check: SlowPeriod, faults: Iterable[FaultPeriod], margin: timedelta) -> bool:
    """Return whether a fault slowed a readiness check down, with ``margin`` before and after it."""
    start, end = check_period(check)
    period = Period(start - margin, end + margin)
    return any(
        fault.period.overlaps(period) and fault.effect.delays({check.service}, Transport.HTTP) for fault in faults
    )


def is_slow_ride(account: RideAccount, faults: Sequence[FaultPeriod]) -> bool:
    """Return whether a ride without synchronous calls took SLOW_RIDE_S or longer, and no fault delayed its plan."""
    if not is_waiting_ride(account) or account.row is None:
        return False
    plan = account.row.couplings
    period = waiting_period(account)
    if period.end - period.start < timedelta(seconds=SLOW_RIDE_S):
        return False
    return not any(fault.period.overlaps(period) for fault in delaying(faults, tuple(plan), plan))


def is_waiting_ride(account: RideAccount) -> bool:
    """Return whether the ride was answered and made no synchronous call."""
    return account.answered and account.row is not None and WAITING_COUPLINGS.issuperset(account.row.couplings.values())


def waiting_period(account: RideAccount) -> Period:
    """Return the time from the rider's request to the outcome."""
    return Period(account.sample.intended_at, max(known_at(account), account.sample.intended_at))


def period_of(fault: InjectedFault, started_at: datetime) -> Period:
    """Return the period of ``fault`` with its recovery."""
    start = started_at + timedelta(seconds=fault.at_s)
    return Period(start, start + timedelta(seconds=fault.duration_s + fault.recovery_s))


@dataclass(frozen=True)
class Explainer:
    """Decides whether injected faults can have caused an end.

    ``limits``: time limits of each flow. ``overloads``: periods in which the machine was overloaded; they explain the
    failure of a synchronous call and nothing else.
    """

    periods: Sequence[FaultPeriod]
    limits: Mapping[str, FlowLimits]
    overloads: Sequence[FaultPeriod] = ()

    def explains_ride(self, account: RideAccount, flows: Sequence[str]) -> bool:
        """Return whether faults can have ended an accepted ride by slowing down ``flows`` of its plan."""
        row = account.row
        if row is None or not flows:
            return False
        plan = row.couplings
        ended_at = max(known_at(account), account.sample.intended_at)
        calls = call_periods(account, ended_at, self.limits[flows[0]].timeout_s)
        synchronous = [flow for flow in flows if plan[flow] not in WAITING_COUPLINGS]
        if any(self.delays(flow, plan[flow], call) for flow in synchronous for call in calls):
            return True
        return self.outlasts(flows, plan, Period(account.sample.intended_at, ended_at))

    def explains_message(self, flow: str, plan: Mapping[str, Coupling], sent_at: datetime) -> bool:
        """Return whether faults can have kept a message of ``flow`` from its receiver until the flow's deadline."""
        limits = self.limits[flow]
        if plan[flow] not in WAITING_COUPLINGS:
            reach = timedelta(seconds=limits.timeout_s + CIRCUIT_MARGIN_S)
            return self.delays(flow, plan[flow], Period(sent_at - reach, sent_at + reach))
        return self.outlasts([flow], plan, Period(sent_at, sent_at + timedelta(seconds=limits.deadline_s)))

    def explains_silence(self, account: RideAccount, plan: Mapping[str, Coupling]) -> bool:
        """Return whether faults can have kept booking from responding to a request until the rider gave up."""
        start = account.sample.intended_at
        wait = Period(start, start + timedelta(seconds=REQUEST_TIMEOUT_S + account.sample.lag_ms / 1e3))
        synchronous = [flow for flow, coupling in plan.items() if coupling not in WAITING_COUPLINGS]
        return self.delays(QUOTE_FARE.name, Coupling.SYNC_API, wait, services=frozenset({QUOTE_FARE.caller})) or any(
            self.delays(flow, plan[flow], wait) for flow in synchronous
        )

    def delays(self, flow: str, coupling: Coupling, period: Period, *, services: frozenset[str] | None = None) -> bool:
        """Return whether a fault or an overload delayed ``flow`` in ``period``.

        ``services``: those concerned, by default the flow's caller and provider.
        """
        causes = delaying((*self.periods, *self.overloads), [flow], {flow: coupling}, services)
        return any(cause.period.overlaps(period) for cause in causes)

    def outlasts(self, flows: Sequence[str], plan: Mapping[str, Coupling], period: Period) -> bool:
        """Return whether faults delayed ``flows`` in ``period`` for as long as the deadline of the first one."""
        deadline_s = self.limits[flows[0]].deadline_s
        found = [found for found in delaying(self.periods, flows, plan) if found.period.overlaps(period)]
        skew_s = max((found.effect.clock_skew_s for found in found), default=0.0)
        away_s = union_s(clipped(found.period, period) for found in found)
        return bool(found) and away_s + skew_s >= deadline_s - min(RETRY_MARGIN_S, deadline_s / 2)


def delaying(
    periods: Iterable[FaultPeriod],
    flows: Sequence[str],
    plan: Mapping[str, Coupling],
    services: frozenset[str] | None = None,
) -> Iterator[FaultPeriod]:
    """Yield the ``periods`` that delay any of ``flows``. ``services``: by default each flow's caller and provider."""
    for found in periods:
        for flow in flows:
            involved = services or frozenset({FLOWS[flow].caller, FLOWS[flow].provider})
            if found.effect.delays(involved, TRANSPORT_OF_COUPLING[plan[flow]]):
                yield found
                break


def call_periods(account: RideAccount, ended_at: datetime, timeout_s: float) -> tuple[Period, ...]:
    """Return when the synchronous calls of a ride took place.

    They begin with the rider's request, and the last one ends with the ride. A process that is killed during a call
    leaves the end to the deadline, so the two may be far apart.
    """
    offered_at = account.sample.intended_at
    response_s = REQUEST_TIMEOUT_S if account.sample.response_ms is None else account.sample.response_ms / 1e3
    margin = timedelta(seconds=CIRCUIT_MARGIN_S)
    return (
        Period(offered_at - margin, offered_at + timedelta(seconds=response_s) + margin),
        Period(ended_at - timedelta(seconds=timeout_s) - margin, ended_at),
    )


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


def unanswered_flows(account: RideAccount, *, all_declined: bool) -> Sequence[str] | None:
    """Return the flows whose delay left a settled ride without an answer; None if the business decided.

    ``all_declined``: whether every fleet that was asked has declined the ride. An unknown reason has no flows, so that
    no fault explains it.
    """
    row = account.row
    if row is None:
        return None
    reason = row.reason or ""
    if row.state in UNANSWERED_STATES:
        return FLOWS_OF_REASON.get(reason.partition(":")[0], ())
    if row.state is not BookingState.REJECTED:
        return None
    if reason == NO_DRIVER_OFFERED and all_declined:
        return None
    return FLOWS_OF_REJECTION.get(reason)
