"""Discrepancies between generator, booking and notification, each with the booking concerned."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from prebook.contracts.booking import LedgerEntry
from prebook.contracts.ride import BookingState
from prebook.lab.ledger.accounts import RideAccount, group_by
from prebook.lab.load.plans import PLANS


class DiscrepancyKind(StrEnum):
    """Kinds of disagreement between the three sources of a ride's account."""

    MISSING_BOOKING = "missing_booking"
    NOT_NOTIFIED = "not_notified"
    DUPLICATE_BOOKING = "duplicate_booking"
    DUPLICATE_NOTIFICATION = "duplicate_notification"
    DRIVER_DOUBLE_BOOKED = "driver_double_booked"
    BOOKED_AFTER_REFUSAL = "booked_after_refusal"
    BOOKED_AFTER_ERROR = "booked_after_error"
    WRONG_BOOKING_ID = "wrong_booking_id"
    UNEXPECTED_BOOKING = "unexpected_booking"
    UNEXPLAINED_END = "unexplained_end"
    """A ride that ended without an answer, and no fault can have caused that; only who knows the faults finds it."""


LOST_KINDS = frozenset({DiscrepancyKind.MISSING_BOOKING, DiscrepancyKind.NOT_NOTIFIED, DiscrepancyKind.UNEXPLAINED_END})
DUPLICATED_KINDS = frozenset(
    {DiscrepancyKind.DUPLICATE_BOOKING, DiscrepancyKind.DUPLICATE_NOTIFICATION, DiscrepancyKind.DRIVER_DOUBLE_BOOKED}
)


class Discrepancy(msgspec.Struct, frozen=True, kw_only=True):
    """One disagreement: its kind, the plan's label, the idempotency key, the booking if known, and a sentence."""

    kind: DiscrepancyKind
    label: str
    key: str
    booking_id: str | None
    detail: str


def missing_booking(account: RideAccount) -> str | None:
    """Return the detail if a request was accepted and booking has no row for it."""
    if account.sample.accepted and account.row is None:
        return f"accepted with status {account.sample.status}, but booking has no row with its key"
    return None


def not_notified(account: RideAccount) -> str | None:
    """Return the detail if the booking is settled and its rider was not notified of that state."""
    if account.row and account.settled and account.notified_at is None:
        reason = f" ({account.row.reason})" if account.row.reason else ""
        return f"settled as {account.row.state}{reason}, but the rider was never notified of it"
    return None


def duplicate_booking(account: RideAccount) -> str | None:
    """Return the detail if one idempotency key has several bookings."""
    if len(account.rows) > 1:
        ids = ", ".join(row.booking_id for row in account.rows)
        return f"{len(account.rows)} bookings with one key: {ids}"
    return None


def duplicate_notification(account: RideAccount) -> str | None:
    """Return the detail if the rider was notified more than once.

    A rider who cancels a confirmed ride may be notified twice: of the confirmation and of the cancellation.
    """
    notices = [f"{entry.notice} x{entry.times_delivered}" for entry in account.deliveries]
    cancelled = account.row is not None and account.row.state is BookingState.CANCELLED
    confirmations = sum(entry.notice == BookingState.CONFIRMED for entry in account.deliveries) if cancelled else 0
    if sum(entry.times_delivered for entry in account.deliveries) > 1 + confirmations:
        return f"the rider was notified of {', '.join(notices)}"
    return None


def booked_after_refusal(account: RideAccount) -> str | None:
    """Return the detail if a request has a booking all the same that was refused for certain."""
    if account.sample.refused and not account.sample.is_uncertain and account.row:
        return f"refused with status {account.sample.status}, yet booking has a row in state {account.row.state}"
    return None


def booked_after_error(account: RideAccount) -> str | None:
    """Return the detail if a request was answered with an error and has a booking all the same."""
    sample = account.sample
    if account.row and sample.status is not None and not sample.accepted and not sample.refused:
        return f"answered with status {sample.status}, yet booking has a row in state {account.row.state}"
    return None


def wrong_booking_id(account: RideAccount) -> str | None:
    """Return the detail if the rider was told the id of another booking."""
    told = account.sample.booking_id
    if account.row and told is not None and told not in {row.booking_id for row in account.rows}:
        return f"the response names booking {told}, but booking's row is {account.row.booking_id}"
    return None


CHECKS: Mapping[DiscrepancyKind, Callable[[RideAccount], str | None]] = {
    DiscrepancyKind.MISSING_BOOKING: missing_booking,
    DiscrepancyKind.NOT_NOTIFIED: not_notified,
    DiscrepancyKind.DUPLICATE_BOOKING: duplicate_booking,
    DiscrepancyKind.DUPLICATE_NOTIFICATION: duplicate_notification,
    DiscrepancyKind.BOOKED_AFTER_REFUSAL: booked_after_refusal,
    DiscrepancyKind.BOOKED_AFTER_ERROR: booked_after_error,
    DiscrepancyKind.WRONG_BOOKING_ID: wrong_booking_id,
}


def find_discrepancies(
    accounts: Sequence[RideAccount], rows: Sequence[LedgerEntry], earlier_rows: Sequence[LedgerEntry] = ()
) -> Iterator[Discrepancy]:
    """Yield all discrepancies. ``earlier_rows``, of previous scenarios, hold drivers who must not be booked again."""
    yield from account_discrepancies(accounts)
    yield from unexpected_bookings(accounts, rows)
    yield from double_booked_drivers(rows, earlier_rows)


def account_discrepancies(accounts: Iterable[RideAccount]) -> Iterator[Discrepancy]:
    """Yield the discrepancies within single accounts."""
    for account in accounts:
        for kind, check in CHECKS.items():
            if detail := check(account):
                key = account.sample.key
                label = account.sample.label
                yield Discrepancy(kind=kind, label=label, key=key, booking_id=account.booking_id, detail=detail)


def unexpected_bookings(accounts: Iterable[RideAccount], rows: Iterable[LedgerEntry]) -> Iterator[Discrepancy]:
    """Yield bookings whose key belongs to no offered ride."""
    offered = {account.sample.key for account in accounts}
    for row in rows:
        if row.idempotency_key not in offered:
            yield discrepancy_of(
                row, DiscrepancyKind.UNEXPECTED_BOOKING, "booking has a row with a key that the generator never sent"
            )


def double_booked_drivers(rows: Iterable[LedgerEntry], earlier_rows: Iterable[LedgerEntry]) -> Iterator[Discrepancy]:
    """Yield bookings among ``rows`` whose driver and slot an earlier booking already has."""
    earlier_ids = {row.booking_id for row in earlier_rows}
    for assigned, bookings in group_by(filter(has_driver, (*earlier_rows, *rows)), assignment).items():
        for row in bookings[1:]:
            if row.booking_id not in earlier_ids:
                yield discrepancy_of(
                    row,
                    DiscrepancyKind.DRIVER_DOUBLE_BOOKED,
                    f"{assigned} was already assigned to {bookings[0].booking_id}",
                )


def has_driver(row: LedgerEntry) -> bool:
    """Return whether the booking is confirmed with a driver."""
    return row.state is BookingState.CONFIRMED and row.driver is not None


def assignment(row: LedgerEntry) -> str:
    """Return the text that identifies a driver in a slot."""
    return f"driver {row.driver} of {row.fleet} at {slot_text(row.slot)}"


def slot_text(slot: datetime | None) -> str:
    """Return the slot in ISO 8601, or ``no slot``."""
    return "no slot" if slot is None else slot.isoformat()


def discrepancy_of(row: LedgerEntry, kind: DiscrepancyKind, detail: str) -> Discrepancy:
    """Return the discrepancy of a ledger row without an account."""
    return Discrepancy(
        kind=kind,
        label=plan_label_of(row.idempotency_key),
        key=row.idempotency_key,
        booking_id=row.booking_id,
        detail=detail,
    )


def plan_label_of(key: str) -> str:
    """Return the plan's label in a key of the form ``<run>-<scenario>-<label>-<ride>``, or an empty text."""
    return next((label for label in PLANS if f"-{label}-" in key), "")
