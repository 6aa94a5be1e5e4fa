"""Explanations: which injected faults can have kept a ride from its answer. Pure.

A request of a coupling that waits reaches its provider as soon as both are back, so only faults that last as long as
its deadline can end it. A synchronous call fails at once, so a fault of its two services during the call can.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from prebook.flows import ASK_FLEET, FIND_DRIVER, FLOWS, QUOTE_FARE
from prebook.lab.chaos.fault_periods import CIRCUIT_MARGIN, FaultPeriod, Period, clipped, delaying, union_s
from prebook.lab.faults.effects import WAITING_COUPLINGS, Transport
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.ledger.recovery_time import known_at
from prebook.lab.suite_client.flow_limits import FlowLimits

RETRY_MARGIN_S = 10.0
"""Seconds between a provider's return and the next attempt at a message: the longest delay of the retry ladder is 7 s.
At most half of a deadline counts as such."""
INLINE_RECOVERY_S = 30.0
"""Seconds after the timeout of a synchronous call until its deadline ends it, if its caller has died meanwhile."""
CONNECTION_ERROR = "connection"
"""Error of a request whose connection was refused or lost."""
DEADLINE_REASON = "deadline"

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


@dataclass(frozen=True)
class Explainer:
    """Decides whether injected faults can have caused an end.

    ``limits``: time limits of each flow. ``overloads``: periods in which the machine was overloaded; they explain the
    failure of a synchronous call or a late response to a rider, and nothing else. ``stalls``: periods in which booking
    responded to nothing.
    """

    periods: Sequence[FaultPeriod]
    limits: Mapping[str, FlowLimits]
    overloads: Sequence[FaultPeriod] = ()
    stalls: Sequence[Period] = ()

    def explains_ride(self, account: RideAccount, flows: Sequence[str]) -> bool:
        """Return whether faults can have ended an accepted ride by slowing down ``flows`` of its plan."""
        row = account.row
        if row is None or not flows:
            return False
        plan = row.couplings
        ended_at = max(known_at(account), account.sample.intended_at)
        synchronous = [flow for flow in flows if plan[flow] not in WAITING_COUPLINGS]
        if any(self._explains_call(account, flow, plan, ended_at) for flow in synchronous):
            return True
        return self.outlasts(flows, plan, Period(account.sample.intended_at, ended_at))

    def explains_message(self, flow: str, plan: Mapping[str, Coupling], sent_at: datetime) -> bool:
        """Return whether faults can have kept a message of ``flow`` from its receiver until the flow's deadline."""
        limits = self.limits[flow]
        if plan[flow] not in WAITING_COUPLINGS:
            return self.delays(
                flow, plan, Period(sent_at, sent_at).widened(timedelta(seconds=limits.timeout_s) + CIRCUIT_MARGIN)
            )
        return self.outlasts([flow], plan, Period(sent_at, sent_at + timedelta(seconds=limits.deadline_s)))

    def explains_silence(self, wait: Period, error: str | None) -> bool:
        """Return whether faults can have kept booking from responding to a rider who waited in ``wait``.

        A connection is refused or lost only where booking's process ends. Booking responds in time however long its
        providers take, so that only faults of booking itself or of its database, or a stall, keep it from that.
        """
        if error == CONNECTION_ERROR:
            return any(cause.effect.ends_processes for cause in self._disturbing(self.periods, QUOTE_FARE.caller, wait))
        return self.disturbs_storage(QUOTE_FARE.caller, wait) or any(stall.overlaps(wait) for stall in self.stalls)

    def disturbs_booking(self, period: Period) -> bool:
        """Return whether a fault of booking or its database, or an overload of booking, occurred in ``period``."""
        return any(self._disturbing((*self.periods, *self.overloads), QUOTE_FARE.caller, period))

    def disturbs_storage(self, service: str, period: Period) -> bool:
        """Return whether a fault of the process of ``service`` or of its database occurred in ``period``."""
        return any(self._disturbing(self.periods, service, period))

    def loses_marks(self, period: Period) -> bool:
        """Return whether the database was killed in ``period``, which loses the last marks of sent messages."""
        return any(found.effect.loses_commits and found.period.overlaps(period) for found in self.periods)

    def delays(self, flow: str, plan: Mapping[str, Coupling], period: Period) -> bool:
        """Return whether a fault or an overload delayed ``flow`` in ``period``."""
        causes = delaying((*self.periods, *self.overloads), [flow], plan)
        return any(cause.period.overlaps(period) for cause in causes)

    def outlasts(self, flows: Sequence[str], plan: Mapping[str, Coupling], period: Period) -> bool:
        """Return whether faults delayed ``flows`` in ``period`` for as long as the deadline of the first one."""
        deadline_s = self.limits[flows[0]].deadline_s
        found = [found for found in delaying(self.periods, flows, plan) if found.period.overlaps(period)]
        skew_s = max((found.effect.clock_skew_s for found in found), default=0.0)
        away_s = union_s(clipped(found.period, period) for found in found)
        return bool(found) and away_s + skew_s >= deadline_s - min(RETRY_MARGIN_S, deadline_s / 2)

    def _explains_call(self, account: RideAccount, flow: str, plan: Mapping[str, Coupling], ended_at: datetime) -> bool:
        """Return whether faults can have failed a synchronous call of ``flow`` that ended the ride at ``ended_at``.

        A call that fails ends the ride at once. One that was interrupted, because its caller ended or could not store
        the reply, leaves the end to the deadline. A rejection does not tell which of the two it was.
        """
        is_rejected = account.row is not None and account.row.state is BookingState.REJECTED
        is_interrupted = is_ended_by_deadline(account)
        timeout = timedelta(seconds=self.limits[flow].timeout_s)
        failure = Period(ended_at - timeout - CIRCUIT_MARGIN, ended_at)
        if not is_interrupted and self.delays(flow, plan, failure):
            return True
        if not (is_interrupted or is_rejected):
            return False
        offered_at = account.sample.intended_at
        recovery = min(timedelta(seconds=INLINE_RECOVERY_S), timedelta(seconds=self.limits[flow].deadline_s) - timeout)
        call = Period(offered_at, max(offered_at, ended_at - recovery)).widened(CIRCUIT_MARGIN)
        return self.disturbs_storage(FLOWS[flow].caller, call)

    def _disturbing(self, periods: Sequence[FaultPeriod], service: str, period: Period) -> Iterator[FaultPeriod]:
        """Yield the ``periods`` that disturb what ``service`` does by itself and its database."""
        for found in periods:
            if found.period.overlaps(period) and found.effect.delays({service}, Transport.EDGE):
                yield found


def is_ended_by_deadline(account: RideAccount) -> bool:
    """Return whether the deadline of a request has ended the ride, and not the failure of a call."""
    reason = account.row.reason if account.row else None
    return (reason or "").partition(": ")[2].partition(";")[0] == DEADLINE_REASON


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
