"""One ride under one plan, as three sources that know nothing of each other tell it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

import msgspec

from prebook.contracts.booking import SETTLED, DeliveryLine, LedgerLine, State
from prebook.lab.load.samples import Sample

T = TypeVar("T")
Groups = Mapping[str, Sequence[T]]


class Fate(StrEnum):
    """What became of a ride; the classes of the ledger."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"
    PARKED = "parked"
    IN_FLIGHT = "in_flight"


FATE_OF_STATE: Mapping[State, Fate] = {
    State.REQUESTED: Fate.IN_FLIGHT,
    State.PRICED: Fate.IN_FLIGHT,
    State.MATCHED: Fate.IN_FLIGHT,
    State.CONFIRMED: Fate.CONFIRMED,
    State.REJECTED: Fate.REJECTED,
    State.CANCELLED: Fate.REJECTED,  # the campaign cancels nothing; a rider without a ride is one all the same
    State.EXPIRED: Fate.EXPIRED,
    State.FAILED: Fate.FAILED,
}
ANSWERED = frozenset({Fate.CONFIRMED, Fate.REJECTED})
"""The business answered: a driver, or a reasoned no. Every other end is the system's."""


@dataclass(frozen=True)
class Account:
    sample: Sample
    rows: Sequence[LedgerLine]
    """Booking's rows under the request's key: none or one, where all is well."""
    notices: Sequence[DeliveryLine]
    """What notification's log says of the booking: one line once it is settled, where all is well."""
    fate: Fate

    @property
    def row(self) -> LedgerLine | None:
        return self.rows[0] if self.rows else None

    @property
    def booking_id(self) -> str | None:
        return self.row.booking_id if self.row else self.sample.booking_id

    @property
    def settled(self) -> bool:
        return self.row is not None and self.row.state in SETTLED

    @property
    def answered(self) -> bool:
        return self.fate in ANSWERED

    @property
    def told_at(self) -> datetime | None:
        """When the rider was told how the booking ended; a notice of another ending does not count."""
        state = self.row.state.value if self.row else None
        return next((line.delivered_at for line in self.notices if line.notice == state), None)

    @property
    def at_rest(self) -> bool:
        """Nothing more is to be expected: refused for good, or settled and the rider told."""
        if self.row is None:
            return not self.sample.accepted
        return self.settled and self.told_at is not None


def finished(account: Account) -> Sample:
    """The sample with what the other sources know of its ride, as it is kept."""
    row, answered = account.row, account.answered
    return msgspec.structs.replace(
        account.sample,
        fate=account.fate.value,
        outcome_ms=after_ms(account.sample, row.settled_at if row and answered else None),
        told_ms=after_ms(account.sample, account.told_at if answered else None),
    )


def after_ms(sample: Sample, moment: datetime | None) -> float | None:
    return None if moment is None else round((moment - sample.intended_at).total_seconds() * 1e3, 3)


def fate(sample: Sample, row: LedgerLine | None, parked: Collection[str]) -> Fate:
    """The row decides wherever there is one. A promise without a row is a failure (and counted as lost beside it)."""
    if row is None:
        return Fate.REFUSED if sample.refused else Fate.FAILED
    settled = FATE_OF_STATE[row.state]
    return Fate.PARKED if settled is Fate.IN_FLIGHT and row.booking_id in parked else settled


def open_accounts(
    samples: Sequence[Sample],
    rows: Iterable[LedgerLine],
    deliveries: Iterable[DeliveryLine],
    parked: Collection[str] = frozenset(),
) -> tuple[Account, ...]:
    by_key = grouped(rows, lambda row: row.key)
    by_booking = grouped(deliveries, lambda line: line.booking_id)
    return tuple(open_account(sample, by_key.get(sample.key, ()), by_booking, parked) for sample in samples)


def open_account(
    sample: Sample, rows: Sequence[LedgerLine], by_booking: Groups[DeliveryLine], parked: Collection[str]
) -> Account:
    row = rows[0] if rows else None
    notices = by_booking.get(row.booking_id, ()) if row else ()
    return Account(sample, rows, notices, fate(sample, row, parked))


def grouped(items: Iterable[T], key: Callable[[T], str]) -> Groups[T]:
    groups: dict[str, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
