"""Where the three sources disagree, each named with the booking it is about."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from prebook.contracts.booking import BookingState, LedgerEntry
from prebook.lab.ledger.accounts import RideAccount, group_by
from prebook.lab.load.plans import PLANS


class DiscrepancyKind(StrEnum):
    MISSING_BOOKING = "missing_booking"
    NOT_NOTIFIED = "not_notified"
    DUPLICATE_BOOKING = "duplicate_booking"
    DUPLICATE_NOTIFICATION = "duplicate_notification"
    DRIVER_DOUBLE_BOOKED = "driver_double_booked"
    BOOKED_AFTER_REFUSAL = "booked_after_refusal"
    UNEXPECTED_BOOKING = "unexpected_booking"


LOST_KINDS = frozenset({DiscrepancyKind.MISSING_BOOKING, DiscrepancyKind.NOT_NOTIFIED})
DUPLICATED_KINDS = frozenset(
    {DiscrepancyKind.DUPLICATE_BOOKING, DiscrepancyKind.DUPLICATE_NOTIFICATION, DiscrepancyKind.DRIVER_DOUBLE_BOOKED}
)


class Discrepancy(msgspec.Struct, frozen=True, kw_only=True):
    kind: DiscrepancyKind
    label: str
    key: str
    booking_id: str | None
    detail: str


def missing_booking(account: RideAccount) -> str | None:
    if account.sample.accepted and account.row is None:
        return f"answered {account.sample.status}, but booking has no row under its key"
    return None


def not_notified(account: RideAccount) -> str | None:
    if account.row and account.settled and account.notified_at is None:
        return f"settled as {account.row.state}, but notification never told the rider"
    return None


def duplicate_booking(account: RideAccount) -> str | None:
    if len(account.rows) > 1:
        ids = ", ".join(row.booking_id for row in account.rows)
        return f"{len(account.rows)} bookings under one key: {ids}"
    return None


def duplicate_notification(account: RideAccount) -> str | None:
    """Once; who was told that the ride is confirmed, and then cancels it, is told of that, too."""
    told = [f"{line.notice} x{line.times_delivered}" for line in account.deliveries]
    cancelled = account.row is not None and account.row.state is BookingState.CANCELLED
    before = sum(line.notice == BookingState.CONFIRMED for line in account.deliveries) if cancelled else 0
    if sum(line.times_delivered for line in account.deliveries) > 1 + before:
        return f"the rider was told {', '.join(told)}"
    return None


def booked_after_refusal(account: RideAccount) -> str | None:
    if account.sample.refused and account.row:
        return f"answered {account.sample.status}, yet booking has a row in state {account.row.state}"
    return None


CHECKS: Mapping[DiscrepancyKind, Callable[[RideAccount], str | None]] = {
    DiscrepancyKind.MISSING_BOOKING: missing_booking,
    DiscrepancyKind.NOT_NOTIFIED: not_notified,
    DiscrepancyKind.DUPLICATE_BOOKING: duplicate_booking,
    DiscrepancyKind.DUPLICATE_NOTIFICATION: duplicate_notification,
    DiscrepancyKind.BOOKED_AFTER_REFUSAL: booked_after_refusal,
}


def find_discrepancies(
    accounts: Sequence[RideAccount], rows: Sequence[LedgerEntry], earlier_rows: Sequence[LedgerEntry] = ()
) -> Iterator[Discrepancy]:
    """``earlier``: rows of the scenarios before, whose drivers cannot be given away again."""
    yield from account_discrepancies(accounts)
    yield from unexpected_bookings(accounts, rows)
    yield from double_booked_drivers(rows, earlier_rows)


def account_discrepancies(accounts: Iterable[RideAccount]) -> Iterator[Discrepancy]:
    for account in accounts:
        for kind, check in CHECKS.items():
            if detail := check(account):
                key = account.sample.key
                label = account.sample.label
                yield Discrepancy(kind=kind, label=label, key=key, booking_id=account.booking_id, detail=detail)


def unexpected_bookings(accounts: Iterable[RideAccount], rows: Iterable[LedgerEntry]) -> Iterator[Discrepancy]:
    offered = {account.sample.key for account in accounts}
    for row in rows:
        if row.idempotency_key not in offered:
            yield discrepancy_of(
                row, DiscrepancyKind.UNEXPECTED_BOOKING, "booking has a row under a key that the generator never sent"
            )


def double_booked_drivers(rows: Iterable[LedgerEntry], earlier_rows: Iterable[LedgerEntry]) -> Iterator[Discrepancy]:
    known = {row.booking_id for row in earlier_rows}
    for slot, holders in group_by(filter(has_driver, (*earlier_rows, *rows)), assignment).items():
        for row in holders[1:]:
            if row.booking_id not in known:
                yield discrepancy_of(
                    row, DiscrepancyKind.DRIVER_DOUBLE_BOOKED, f"{slot} was already given to {holders[0].booking_id}"
                )


def has_driver(row: LedgerEntry) -> bool:
    return row.state is BookingState.CONFIRMED and row.driver is not None


def assignment(row: LedgerEntry) -> str:
    return f"driver {row.driver} of {row.fleet} at {slot_text(row.slot)}"


def slot_text(slot: datetime | None) -> str:
    return "no slot" if slot is None else slot.isoformat()


def discrepancy_of(row: LedgerEntry, kind: DiscrepancyKind, detail: str) -> Discrepancy:
    return Discrepancy(
        kind=kind,
        label=plan_label_of(row.idempotency_key),
        key=row.idempotency_key,
        booking_id=row.booking_id,
        detail=detail,
    )


def plan_label_of(key: str) -> str:
    """The plan that a key of ours belongs to: ``<run>-<scenario>-<label>-<ride>``."""
    return next((label for label in PLANS if f"-{label}-" in key), "")
