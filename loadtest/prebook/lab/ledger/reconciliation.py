"""Reconciliation of a scenario: every offered ride is in exactly one class; lost and duplicated ones are counted too.

A cancelled booking counts as rejected. A booking counts as dead-lettered rather than in flight only if the suite's
operations service lists it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from prebook.contracts.booking import DeliveryEntry, LedgerEntry
from prebook.lab.ledger import discrepancies
from prebook.lab.ledger.accounts import RideAccount, RideOutcome, build_accounts
from prebook.lab.ledger.discrepancies import Discrepancy, DiscrepancyKind
from prebook.lab.load.samples import Sample


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of rides of one plan in one scenario. ``offered`` is the sum of the seven classes that follow it."""

    offered: int = 0
    confirmed: int = 0
    rejected: int = 0
    refused: int = 0
    failed: int = 0
    expired: int = 0
    dead_lettered: int = 0
    in_flight: int = 0
    lost: int = 0
    """Accepted rides without a booking, settled bookings whose rider was not notified, and unexplained ends."""
    duplicated: int = 0

    @property
    def closes(self) -> bool:
        """Whether no ride is in flight and the classes add up to the offered rides."""
        return self.in_flight == 0 and self.offered == sum(int(getattr(self, outcome.value)) for outcome in RideOutcome)

    @property
    def answered(self) -> int:
        """Rides that the business decided: confirmed or rejected."""
        return self.confirmed + self.rejected

    @property
    def unanswered(self) -> int:
        """Rides that the business did not decide: refused, failed, expired, dead-lettered or in flight."""
        return self.offered - self.answered


LEDGER_CLASSES = ("offered", *(outcome.value for outcome in RideOutcome))
"""Names of Ledger's fields for the total and for the classes that add up to it."""
LEDGER_VIOLATIONS = ("lost", "duplicated")
"""Names of Ledger's fields that count violations and must be 0."""


@dataclass(frozen=True)
class Reconciliation:
    """Accounts of all rides of a scenario, booking's rows, and the discrepancies found."""

    accounts: tuple[RideAccount, ...]
    rows: tuple[LedgerEntry, ...]
    discrepancies: tuple[Discrepancy, ...]

    def accounts_of(self, label: str) -> tuple[RideAccount, ...]:
        """Return the accounts of the plan ``label``."""
        return tuple(account for account in self.accounts if account.sample.label == label)

    def ledger_of(self, label: str) -> Ledger:
        """Return the ledger of the plan ``label``."""
        outcomes = [account.outcome for account in self.accounts_of(label)]
        kinds = [item.kind for item in self.discrepancies if item.label == label]
        return Ledger(
            offered=len(outcomes),
            lost=count_kinds(kinds, discrepancies.LOST_KINDS),
            duplicated=count_kinds(kinds, discrepancies.DUPLICATED_KINDS),
            **{outcome.value: outcomes.count(outcome) for outcome in RideOutcome},
        )

    @property
    def pending(self) -> int:
        """Number of rides that are not at rest: outcome or notice is still missing."""
        return sum(not account.at_rest for account in self.accounts)


def count_kinds(kinds: Sequence[DiscrepancyKind], wanted: Collection[DiscrepancyKind]) -> int:
    """Return how many of ``kinds`` are among ``wanted``."""
    return sum(kind in wanted for kind in kinds)


def reconcile(
    samples: Sequence[Sample],
    rows: Sequence[LedgerEntry],
    deliveries: Sequence[DeliveryEntry],
    *,
    dead_lettered: Collection[str] = frozenset(),
    earlier_rows: Sequence[LedgerEntry] = (),
) -> Reconciliation:
    """Match samples, rows and deliveries by idempotency key and booking id.

    ``dead_lettered`` holds ids of bookings with a parked message, ``earlier_rows`` the rows of previous scenarios.
    """
    accounts = build_accounts(samples, rows, deliveries, dead_lettered)
    return Reconciliation(accounts, tuple(rows), tuple(discrepancies.find_discrepancies(accounts, rows, earlier_rows)))
