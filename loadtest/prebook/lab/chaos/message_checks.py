"""Checks of single messages: sent, received, in order, and not expired unless a fault can have caused it. Pure."""

from collections.abc import Iterator

from prebook.flows import ASK_FLEET, FLOWS
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.chaos.fault_periods import Period
from prebook.lab.chaos.unanswered_checks import Unanswered
from prebook.lab.chaos.violations import Violation, ViolationKind
from prebook.lab.faults.effects import WAITING_COUPLINGS


def check_send_order(evidence: Evidence) -> Iterator[Violation]:
    """Every relay sent the messages of one ordering key and route in the order of their insertion.

    A database that is killed forgets the last marks of sent rows, which are committed asynchronously. Those rows are
    sent again, and have a later time than rows after them whose mark came later and was kept.
    """
    explainer = Unanswered(evidence).explainer
    for message in evidence.database.overtaken:
        resent_at = message.resent_at
        if resent_at is None or not explainer.loses_marks(Period(message.created_at, resent_at)):
            detail = f"{message.sender} sent {message.message_id} before an earlier message of its ordering key"
            yield Violation(ViolationKind.MISORDERED, message.booking_id, detail)


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


def check_expiries(evidence: Evidence) -> Iterator[Violation]:
    """Every message that expired before it was sent met a fault that can have kept it until its deadline."""
    explainer = Unanswered(evidence).explainer
    rows = {row.booking_id: row for row in evidence.reconciliation.rows}
    for message in evidence.database.expired:
        row = rows.get(message.booking_id)
        is_explained = (
            row is not None
            and message.flow in FLOWS
            and explainer.explains_message(message.flow, row.couplings, message.created_at)
        )
        if not is_explained:
            detail = f"{message.message_id} expired in the outbox of {message.sender}"
            yield Violation(
                ViolationKind.LOST, message.booking_id, f"{detail}, and no injected fault can have caused it"
            )
