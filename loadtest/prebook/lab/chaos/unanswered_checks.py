"""Checks of rides that got no answer: each end, silence or missing message has a fault that can have caused it. Pure.

What no fault explains is a loss that a deadline has hidden.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import msgspec

from prebook.contracts.plan import plan_label
from prebook.contracts.ride import BookingState
from prebook.flows import QUOTE_FARE
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.chaos.explanations import Explainer, unanswered_flows
from prebook.lab.chaos.fault_periods import Period, fault_periods
from prebook.lab.chaos.overload import overload_periods, stall_periods
from prebook.lab.chaos.repeated_keys import IN_PROGRESS
from prebook.lab.chaos.violations import Violation, ViolationKind
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.load.generator import REQUEST_TIMEOUT_S
from prebook.lab.load.samples import REFUSED_STATUSES, Sample


class UnansweredEnd(msgspec.Struct, frozen=True, kw_only=True):
    """Accepted rides that ended without an answer in one state and for one reason."""

    state: BookingState
    reason: str
    rides: int
    unexplained: int
    """Those of the rides that no injected fault can have ended."""


@dataclass(frozen=True)
class RideEnd:
    """The end of one accepted ride without an answer. ``explained``: whether a fault can have caused it."""

    booking_id: str
    state: BookingState
    reason: str
    plan: str
    """Couplings of the ride; only a synchronous call fails at once."""
    explained: bool


@dataclass(frozen=True)
class Unanswered:
    """Rides of a run without an answer, with the faults that explain them."""

    evidence: Evidence

    @cached_property
    def explainer(self) -> Explainer:
        """Explanations by the faults of the run, and by the overload that was observed."""
        evidence = self.evidence
        periods = fault_periods(evidence.faults, evidence.started_at)
        overloads = overload_periods(evidence.slow, evidence.reconciliation.accounts, periods)
        return Explainer(periods, evidence.flow_limits, overloads, stall_periods(evidence.slow, QUOTE_FARE.caller))

    @cached_property
    def ends(self) -> Sequence[RideEnd]:
        """Ends of accepted rides that are no decision of the business."""
        return tuple(self._find_ends())

    @cached_property
    def silent(self) -> Sequence[RideAccount]:
        """Rides whose request got no response at all."""
        return [account for account in self.evidence.reconciliation.accounts if account.sample.status is None]

    def count_ends(self) -> tuple[UnansweredEnd, ...]:
        """Return the ends by state and reason, the most frequent first."""
        rides = Counter((end.state, end.reason) for end in self.ends)
        unexplained = Counter((end.state, end.reason) for end in self.ends if not end.explained)
        return tuple(
            UnansweredEnd(state=state, reason=reason, rides=count, unexplained=unexplained[state, reason])
            for (state, reason), count in rides.most_common()
        )

    def find_unexplained_silence(self) -> Iterator[tuple[str, str]]:
        """Yield key and error of the requests and repetitions whose missing response no fault can have caused.

        A rider who was told that another attempt is running, and never its result, waits like one without a response.
        """
        evidence = self.evidence
        for sample in evidence.first_samples or [account.sample for account in evidence.reconciliation.accounts]:
            if sample.status is None and not self.explainer.explains_silence(waiting_time(sample), sample.error):
                yield sample.key, f"no response ({sample.error})"
        for attempt in evidence.repetitions:
            wait = Period(attempt.sent_at, attempt.answered_at)
            if attempt.status is None and not self.explainer.explains_silence(wait, attempt.error):
                yield attempt.key, "no response to its repetition"
        ends = {attempt.key: attempt.answered_at for attempt in evidence.repetitions}
        for account in self.silent:
            wait = waiting_time(account.sample)
            hull = Period(wait.start, max(wait.end, ends.get(account.sample.key, wait.end)))
            if account.sample.error == IN_PROGRESS and not self.explainer.disturbs_booking(hull):
                yield account.sample.key, "no result"

    def _find_ends(self) -> Iterator[RideEnd]:
        declined = self.evidence.database.declined_by_all
        for account in self.evidence.reconciliation.accounts:
            row = account.row
            if row is None:
                continue
            flows = unanswered_flows(account, all_declined=row.booking_id in declined)
            if flows is not None:
                explained = self.explainer.explains_ride(account, flows)
                yield RideEnd(
                    row.booking_id, row.state, row.reason or "no reason", plan_label(row.couplings), explained
                )


def check_ends(evidence: Evidence) -> Iterator[Violation]:
    """Every ride that ended without an answer met a fault that can have caused it."""
    for end in Unanswered(evidence).ends:
        if not end.explained:
            detail = f"{end.state} ({end.reason}) with {end.plan}, and no injected fault can have caused it"
            yield Violation(ViolationKind.UNEXPLAINED, end.booking_id, detail)


def check_silence(evidence: Evidence) -> Iterator[Violation]:
    """Every request without a response met a fault that can have caused it."""
    for key, detail in Unanswered(evidence).find_unexplained_silence():
        text = f"the request got {detail}, and no injected fault can have caused it"
        yield Violation(ViolationKind.UNEXPLAINED, key, text)


def check_uncertain_refusals(evidence: Evidence) -> Iterator[Violation]:
    """Every request that was booked, though its refusal left that open, met a fault that can have caused it."""
    explainer = Unanswered(evidence).explainer
    for account in evidence.reconciliation.accounts:
        is_open = account.row is not None and account.sample.is_uncertain
        if is_open and not explainer.disturbs_booking(waiting_time(account.sample)):
            detail = f"booked, but answered with {account.sample.status}, and no injected fault can have caused it"
            yield Violation(ViolationKind.UNEXPLAINED, account.booking_id or account.sample.key, detail)


def check_uncertain_cancellations(evidence: Evidence) -> Iterator[Violation]:
    """Every cancellation that was refused, or got no response, met a fault that can have caused it."""
    explainer = Unanswered(evidence).explainer
    for cancellation in evidence.cancellations:
        status = cancellation.status
        wait = Period(cancellation.sent_at, cancellation.answered_at)
        is_open = status is None or status in REFUSED_STATUSES
        if is_open and not explainer.explains_silence(wait, cancellation.error):
            detail = f"a cancellation got {status or 'no response'}, and no injected fault can have caused it"
            yield Violation(ViolationKind.UNEXPLAINED, cancellation.booking_id, detail)


def waiting_time(sample: Sample) -> Period:
    """Return the time in which a rider waited for the response to a request."""
    start = sample.intended_at + timedelta(milliseconds=sample.lag_ms)
    if sample.response_ms is None:
        return Period(start, start + timedelta(seconds=REQUEST_TIMEOUT_S))
    return Period(start, max(start, sample.intended_at + timedelta(milliseconds=sample.response_ms)))
