"""Account of one ride under one plan, from three independent sources: generator, booking, notification."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

import msgspec

from prebook.contracts.booking import DeliveryEntry, LedgerEntry
from prebook.contracts.ride import SETTLED_STATES, BookingState
from prebook.lab.load.samples import Sample

T = TypeVar("T")
ItemsByKey = Mapping[str, Sequence[T]]


class RideOutcome(StrEnum):
    """Outcome of a ride; each is one class of the ledger."""

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
    BookingState.CANCELLED: RideOutcome.REJECTED,  # campaigns cancel nothing; others end without a ride
    BookingState.EXPIRED: RideOutcome.EXPIRED,
    BookingState.FAILED: RideOutcome.FAILED,
}
ANSWERED_OUTCOMES = frozenset({RideOutcome.CONFIRMED, RideOutcome.REJECTED})
"""Outcomes that the business decided: a driver, or a reasoned rejection. All others are the system's failures."""


@dataclass(frozen=True)
class RideAccount:
    """One ride: the generator's sample, booking's rows, notification's deliveries, and the resulting outcome."""

    sample: Sample
    rows: Sequence[LedgerEntry]
    """Booking's rows with the request's idempotency key; more than one is a discrepancy."""
    deliveries: Sequence[DeliveryEntry]
    """Entries of notification's delivery log for the booking; one is expected once the booking is settled."""
    outcome: RideOutcome

    @property
    def row(self) -> LedgerEntry | None:
        """First of booking's rows, or None."""
        return self.rows[0] if self.rows else None

    @property
    def booking_id(self) -> str | None:
        """Booking id from booking's row, or else from its response to the rider."""
        return self.row.booking_id if self.row else self.sample.booking_id

    @property
    def settled(self) -> bool:
        """Whether booking has a row with a known outcome; a confirmed ride may still be cancelled."""
        return self.row is not None and self.row.state in SETTLED_STATES

    @property
    def answered(self) -> bool:
        """Whether the business decided: the ride is confirmed or rejected."""
        return self.outcome in ANSWERED_OUTCOMES

    @property
    def notified_at(self) -> datetime | None:
        """Delivery time of the notice of the state in booking's row; notices of other states do not count."""
        state = self.row.state.value if self.row else None
        return next((entry.delivered_at for entry in self.deliveries if entry.notice == state), None)

    @property
    def at_rest(self) -> bool:
        """Whether nothing more will happen: refused or failed without a row, or settled and notified."""
        if self.row is None:
            return not self.sample.accepted
        return self.settled and self.notified_at is not None


def sample_with_outcome(account: RideAccount) -> Sample:
    """Return the sample completed with outcome and latencies, as samples.jsonl stores it."""
    row = account.row
    answered = account.answered
    return msgspec.structs.replace(
        account.sample,
        outcome=account.outcome.value,
        settled_ms=elapsed_ms(account.sample, row.settled_at if row and answered else None),
        notified_ms=elapsed_ms(account.sample, account.notified_at if answered else None),
    )


def elapsed_ms(sample: Sample, moment: datetime | None) -> float | None:
    """Return milliseconds from the request's intended time to ``moment``, or None if there is no moment."""
    return None if moment is None else round((moment - sample.intended_at).total_seconds() * 1e3, 3)


def outcome_of(sample: Sample, row: LedgerEntry | None, dead_lettered: Collection[str]) -> RideOutcome:
    """Return the outcome of a ride; booking's row takes precedence over the response to the rider.

    A booking in flight whose id is in ``dead_lettered`` is dead-lettered. A ride accepted without a row is failed, and
    also counted as lost.
    """
    if row is None:
        return RideOutcome.REFUSED if sample.refused else RideOutcome.FAILED
    outcome = OUTCOME_OF_STATE[row.state]
    return (
        RideOutcome.DEAD_LETTERED if outcome is RideOutcome.IN_FLIGHT and row.booking_id in dead_lettered else outcome
    )


def build_accounts(
    samples: Sequence[Sample],
    rows: Iterable[LedgerEntry],
    deliveries: Iterable[DeliveryEntry],
    dead_lettered: Collection[str] = frozenset(),
) -> tuple[RideAccount, ...]:
    """Return one account per sample, in the samples' order. ``dead_lettered`` holds booking ids."""
    by_key = group_by(rows, lambda row: row.idempotency_key)
    by_booking = group_by(deliveries, lambda entry: entry.booking_id)
    return tuple(build_account(sample, by_key.get(sample.key, ()), by_booking, dead_lettered) for sample in samples)


def build_account(
    sample: Sample,
    rows: Sequence[LedgerEntry],
    deliveries_by_booking: ItemsByKey[DeliveryEntry],
    dead_lettered: Collection[str],
) -> RideAccount:
    """Return the account of one sample from booking's rows with its key and all deliveries."""
    row = rows[0] if rows else None
    notices = deliveries_by_booking.get(row.booking_id, ()) if row else ()
    return RideAccount(sample, rows, notices, outcome_of(sample, row, dead_lettered))


def group_by(items: Iterable[T], key: Callable[[T], str]) -> ItemsByKey[T]:
    """Return the items by key, each group in the given order."""
    groups: dict[str, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
