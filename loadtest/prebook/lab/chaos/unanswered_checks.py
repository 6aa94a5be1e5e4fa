"""Checks of rides that got no answer: each end, silence or missing message has a fault that can have caused it. Pure.

What no fault explains is a loss that a deadline has hidden.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from prebook.contracts.ride import BookingState
from prebook.flows import ASK_FLEET
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.chaos.explanations import Explainer, fault_periods, overload_periods, unanswered_flows
from prebook.lab.chaos.violations import Violation, ViolationKind
from prebook.lab.faults.effects import WAITING_COUPLINGS
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.load.plans import PLANS


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
        return Explainer(periods, evidence.flow_limits, overloads)

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

    def is_silence_explained(self, account: RideAccount) -> bool:
        """Return whether faults can have kept booking from responding."""
        return self.explainer.explains_silence(account, PLANS[account.sample.label])

    def _find_ends(self) -> Iterator[RideEnd]:
        declined = self.evidence.database.declined_by_all
        for account in self.evidence.reconciliation.accounts:
            row = account.row
            if row is None:
                continue
            flows = unanswered_flows(account, all_declined=row.booking_id in declined)
            if flows is not None:
                explained = self.explainer.explains_ride(account, flows)
                yield RideEnd(row.booking_id, row.state, row.reason or "no reason", explained)


def check_ends(evidence: Evidence) -> Iterator[Violation]:
    """Every ride that ended without an answer met a fault that can have caused it."""
    for end in Unanswered(evidence).ends:
        if not end.explained:
            detail = f"{end.state} ({end.reason}), and no injected fault can have caused it"
            yield Violation(ViolationKind.UNEXPLAINED, end.booking_id, detail)


def check_silence(evidence: Evidence) -> Iterator[Violation]:
    """Every request without a response met a fault that can have caused it."""
    unanswered = Unanswered(evidence)
    for account in unanswered.silent:
        if not unanswered.is_silence_explained(account):
            detail = f"the request got no response ({account.sample.error}), and no injected fault can have caused it"
            yield Violation(ViolationKind.UNEXPLAINED, account.sample.key, detail)


def check_uncertain_refusals(evidence: Evidence) -> Iterator[Violation]:
    """Every request that was booked, though its refusal left that open, met a fault that can have caused it."""
    unanswered = Unanswered(evidence)
    for account in evidence.reconciliation.accounts:
        if account.row and account.sample.is_uncertain and not unanswered.is_silence_explained(account):
            detail = f"booked, but answered with {account.sample.status}, and no injected fault can have caused it"
            yield Violation(ViolationKind.UNEXPLAINED, account.row.booking_id, detail)


def check_receipts(evidence: Evidence) -> Iterator[Violation]:
    """Every message that was sent reached its receiver's inbox, unless a fault kept it away until its deadline.

    Events have no deadline, so no fault excuses them. Dead letters are judged apart, and a synchronous call that an
    outbox row made counts as sent whether it succeeds or not.
    """
    explainer = Unanswered(evidence).explainer
    parked = {letter.message_id for letter in evidence.dead_letters}
    rows = {row.booking_id: row for row in evidence.reconciliation.rows}
    for message in evidence.database.unreceived:
        row = rows.get(message.booking_id)
        if row is None or message.message_id in parked:
            continue
        coupling = row.couplings.get(message.flow)  # None: an event
        if coupling is not None and coupling not in WAITING_COUPLINGS:
            continue
        if coupling is None or not explainer.explains_message(message.flow, row.couplings, message.sent_at):
            detail = f"{message.sender} sent {message.message_id}, which {message.receiver} has not received"
            yield Violation(ViolationKind.LOST, message.booking_id, detail)


def check_offers(evidence: Evidence) -> Iterator[Violation]:
    """Every offer of a fleet got a verdict, unless a fault kept it from matching until its deadline."""
    explainer = Unanswered(evidence).explainer
    rows = {row.booking_id: row for row in evidence.reconciliation.rows}
    for offer in evidence.database.open_offers:
        row = rows.get(offer.booking_id)
        if row is not None and not explainer.explains_message(ASK_FLEET.name, row.couplings, offer.reserved_at):
            detail = f"the offer of driver {offer.driver} got no verdict, and no injected fault can have caused that"
            yield Violation(ViolationKind.LOST, offer.booking_id, detail)
