"""Reconciliation of a scenario: every ride offered is in one class; lost and duplicated ones are counted beside.

A cancelled booking counts as rejected. Dead-lettered bookings are told from those in flight only where the suite says
which they are.
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
    """Rides of one plan in one scenario. ``offered`` is the sum of the seven classes after it."""

    offered: int = 0
    confirmed: int = 0
    rejected: int = 0
    refused: int = 0
    failed: int = 0
    expired: int = 0
    dead_lettered: int = 0
    in_flight: int = 0
    lost: int = 0
    """Accepted with no row behind it, or settled with nobody told."""
    duplicated: int = 0

    @property
    def closes(self) -> bool:
        return self.in_flight == 0 and self.offered == sum(int(getattr(self, outcome.value)) for outcome in RideOutcome)

    @property
    def answered(self) -> int:
        """Rides that the business answered: confirmed or rejected."""
        return self.confirmed + self.rejected

    @property
    def unanswered(self) -> int:
        return self.offered - self.answered


LEDGER_CLASSES = ("offered", *(outcome.value for outcome in RideOutcome))
"""Fields of Ledger that count rides: the total, and the classes that it is the sum of."""
LEDGER_VIOLATIONS = ("lost", "duplicated")
"""Fields of Ledger that must be 0."""


@dataclass(frozen=True)
class Reconciliation:
    accounts: tuple[RideAccount, ...]
    rows: tuple[LedgerEntry, ...]
    discrepancies: tuple[Discrepancy, ...]

    def accounts_of(self, label: str) -> tuple[RideAccount, ...]:
        return tuple(account for account in self.accounts if account.sample.label == label)

    def ledger_of(self, label: str) -> Ledger:
        outcomes = [account.outcome for account in self.accounts_of(label)]
        found = [item.kind for item in self.discrepancies if item.label == label]
        return Ledger(
            offered=len(outcomes),
            lost=count_kinds(found, discrepancies.LOST_KINDS),
            duplicated=count_kinds(found, discrepancies.DUPLICATED_KINDS),
            **{outcome.value: outcomes.count(outcome) for outcome in RideOutcome},
        )

    @property
    def pending(self) -> int:
        """Rides whose outcome, or whose rider's notice, is still to come."""
        return sum(not account.at_rest for account in self.accounts)


def count_kinds(kinds: Sequence[DiscrepancyKind], wanted: Collection[DiscrepancyKind]) -> int:
    return sum(kind in wanted for kind in kinds)


def reconcile(
    samples: Sequence[Sample],
    rows: Sequence[LedgerEntry],
    deliveries: Sequence[DeliveryEntry],
    *,
    dead_lettered: Collection[str] = frozenset(),
    earlier_rows: Sequence[LedgerEntry] = (),
) -> Reconciliation:
    """``dead_lettered``: ids of bookings with a parked message. ``earlier_rows``: those of the scenarios before."""
    accounts = build_accounts(samples, rows, deliveries, dead_lettered)
    return Reconciliation(accounts, tuple(rows), tuple(discrepancies.find_discrepancies(accounts, rows, earlier_rows)))
