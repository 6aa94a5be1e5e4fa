"""Settles the accounts of a scenario: every ride offered in exactly one class, what is lost or doubled beside them.

A cancelled booking counts as rejected. Parked bookings are told apart from those in flight only where the suite says
which they are.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from prebook.contracts.booking import DeliveryLine, LedgerLine
from prebook.lab.ledger import discrepancies
from prebook.lab.ledger.accounts import Account, Fate, open_accounts
from prebook.lab.ledger.discrepancies import Discrepancy, Kind
from prebook.lab.load.samples import Sample


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Rides of one plan in one scenario. ``offered`` is the sum of the seven classes after it."""

    offered: int = 0
    confirmed: int = 0
    rejected: int = 0
    refused: int = 0
    failed: int = 0
    expired: int = 0
    parked: int = 0
    in_flight: int = 0
    lost: int = 0
    """Accepted with no row behind it, or settled with nobody told."""
    duplicated_effects: int = 0

    @property
    def closes(self) -> bool:
        return self.in_flight == 0 and self.offered == sum(int(getattr(self, fate.value)) for fate in Fate)

    @property
    def answered(self) -> int:
        """Rides that the business answered: confirmed or rejected."""
        return self.confirmed + self.rejected

    @property
    def unanswered(self) -> int:
        return self.offered - self.answered


@dataclass(frozen=True)
class Reconciliation:
    accounts: tuple[Account, ...]
    rows: tuple[LedgerLine, ...]
    discrepancies: tuple[Discrepancy, ...]

    def of(self, label: str) -> tuple[Account, ...]:
        return tuple(account for account in self.accounts if account.sample.label == label)

    def ledger(self, label: str) -> Ledger:
        fates = [account.fate for account in self.of(label)]
        found = [item.kind for item in self.discrepancies if item.label == label]
        return Ledger(
            offered=len(fates),
            lost=count_in(found, discrepancies.LOST),
            duplicated_effects=count_in(found, discrepancies.DOUBLED),
            **{fate.value: fates.count(fate) for fate in Fate},
        )

    @property
    def waiting(self) -> int:
        """Rides whose outcome, or whose rider's notice, is still to come."""
        return sum(not account.at_rest for account in self.accounts)


def count_in(kinds: Sequence[Kind], wanted: Collection[Kind]) -> int:
    return sum(kind in wanted for kind in kinds)


def reconcile(
    samples: Sequence[Sample],
    rows: Sequence[LedgerLine],
    deliveries: Sequence[DeliveryLine],
    *,
    parked: Collection[str] = frozenset(),
    earlier: Sequence[LedgerLine] = (),
) -> Reconciliation:
    """``parked``: ids of bookings with a message in the parking lot. ``earlier``: rows of the scenarios before."""
    accounts = open_accounts(samples, rows, deliveries, parked)
    return Reconciliation(accounts, tuple(rows), tuple(discrepancies.find(accounts, rows, earlier)))
