"""One ride under one plan, as three sources that know nothing of each other tell it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

import msgspec

from prebook.contracts.booking import SETTLED_STATES, BookingState, DeliveryEntry, LedgerEntry
from prebook.lab.load.samples import Sample

T = TypeVar("T")
ItemsByKey = Mapping[str, Sequence[T]]


class RideOutcome(StrEnum):
    """What became of a ride; the classes of the ledger."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"
    DEAD_LETTERED = "dead_lettered"
    IN_FLIGHT = "in_flight"


OUTCOME_OF_STATE: Mapping[BookingState, RideOutcome] = {
    BookingState.REQUESTED: RideOutcome.IN_FLIGHT,
    BookingState.PRICED: RideOutcome.IN_FLIGHT,
    BookingState.MATCHED: RideOutcome.IN_FLIGHT,
    BookingState.CONFIRMED: RideOutcome.CONFIRMED,
    BookingState.REJECTED: RideOutcome.REJECTED,
    BookingState.CANCELLED: RideOutcome.REJECTED,  # a campaign cancels nothing; its rider has no ride either
    BookingState.EXPIRED: RideOutcome.EXPIRED,
    BookingState.FAILED: RideOutcome.FAILED,
}
ANSWERED_OUTCOMES = frozenset({RideOutcome.CONFIRMED, RideOutcome.REJECTED})
"""The business answered: a driver, or a reasoned no. Every other end is the system's."""


@dataclass(frozen=True)
class RideAccount:
    sample: Sample
    rows: Sequence[LedgerEntry]
    """Booking's rows under the request's key: none or one, where all is well."""
    deliveries: Sequence[DeliveryEntry]
    """What notification's log says of the booking: one line once it is settled, where all is well."""
    outcome: RideOutcome

    @property
    def row(self) -> LedgerEntry | None:
        return self.rows[0] if self.rows else None

    @property
    def booking_id(self) -> str | None:
        return self.row.booking_id if self.row else self.sample.booking_id

    @property
    def settled(self) -> bool:
        return self.row is not None and self.row.state in SETTLED_STATES

    @property
    def answered(self) -> bool:
        return self.outcome in ANSWERED_OUTCOMES

    @property
    def notified_at(self) -> datetime | None:
        """When the rider was told how the booking ended; a notice of another ending does not count."""
        state = self.row.state.value if self.row else None
        return next((line.delivered_at for line in self.deliveries if line.notice == state), None)

    @property
    def at_rest(self) -> bool:
        """Nothing more is to be expected: refused for good, or settled and the rider told."""
        if self.row is None:
            return not self.sample.accepted
        return self.settled and self.notified_at is not None


def sample_with_outcome(account: RideAccount) -> Sample:
    """The sample with what the other sources know of its ride, as it is kept."""
    row = account.row
    answered = account.answered
    return msgspec.structs.replace(
        account.sample,
        outcome=account.outcome.value,
        settled_ms=elapsed_ms(account.sample, row.settled_at if row and answered else None),
        notified_ms=elapsed_ms(account.sample, account.notified_at if answered else None),
    )


def elapsed_ms(sample: Sample, moment: datetime | None) -> float | None:
    return None if moment is None else round((moment - sample.intended_at).total_seconds() * 1e3, 3)


def outcome_of(sample: Sample, row: LedgerEntry | None, dead_lettered: Collection[str]) -> RideOutcome:
    """The row decides wherever there is one. A promise without a row is a failure (and counted as lost beside it)."""
    if row is None:
        return RideOutcome.REFUSED if sample.refused else RideOutcome.FAILED
    settled = OUTCOME_OF_STATE[row.state]
    return (
        RideOutcome.DEAD_LETTERED if settled is RideOutcome.IN_FLIGHT and row.booking_id in dead_lettered else settled
    )


def build_accounts(
    samples: Sequence[Sample],
    rows: Iterable[LedgerEntry],
    deliveries: Iterable[DeliveryEntry],
    dead_lettered: Collection[str] = frozenset(),
) -> tuple[RideAccount, ...]:
    by_key = group_by(rows, lambda row: row.idempotency_key)
    by_booking = group_by(deliveries, lambda line: line.booking_id)
    return tuple(build_account(sample, by_key.get(sample.key, ()), by_booking, dead_lettered) for sample in samples)


def build_account(
    sample: Sample,
    rows: Sequence[LedgerEntry],
    deliveries_by_booking: ItemsByKey[DeliveryEntry],
    dead_lettered: Collection[str],
) -> RideAccount:
    row = rows[0] if rows else None
    notices = deliveries_by_booking.get(row.booking_id, ()) if row else ()
    return RideAccount(sample, rows, notices, outcome_of(sample, row, dead_lettered))


def group_by(items: Iterable[T], key: Callable[[T], str]) -> ItemsByKey[T]:
    groups: dict[str, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
