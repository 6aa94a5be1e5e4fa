"""Where the three sources disagree, each named with the booking it is about."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from prebook.contracts.booking import LedgerLine, State
from prebook.lab.ledger.accounts import Account, grouped
from prebook.lab.load.plans import PLANS


class Kind(StrEnum):
    NO_ROW = "no_row"
    UNTOLD = "untold"
    TWO_ROWS = "two_rows"
    TOLD_AGAIN = "told_again"
    DRIVER_TWICE = "driver_twice"
    REFUSED_YET_BOOKED = "refused_yet_booked"
    NEVER_OFFERED = "never_offered"


LOST = frozenset({Kind.NO_ROW, Kind.UNTOLD})
DOUBLED = frozenset({Kind.TWO_ROWS, Kind.TOLD_AGAIN, Kind.DRIVER_TWICE})


class Discrepancy(msgspec.Struct, frozen=True, kw_only=True):
    kind: Kind
    label: str
    key: str
    booking_id: str | None
    detail: str


def no_row(account: Account) -> str | None:
    if account.sample.accepted and account.row is None:
        return f"answered {account.sample.status}, but booking has no row under its key"
    return None


def untold(account: Account) -> str | None:
    if account.row and account.settled and account.told_at is None:
        return f"settled as {account.row.state}, but notification never told the rider"
    return None


def two_rows(account: Account) -> str | None:
    if len(account.rows) > 1:
        ids = ", ".join(row.booking_id for row in account.rows)
        return f"{len(account.rows)} bookings under one key: {ids}"
    return None


def told_again(account: Account) -> str | None:
    """Once; who was told that the ride is confirmed, and then cancels it, is told of that, too."""
    told = [f"{line.notice} x{line.deliveries}" for line in account.notices]
    cancelled = account.row is not None and account.row.state is State.CANCELLED
    before = sum(line.notice == State.CONFIRMED for line in account.notices) if cancelled else 0
    if sum(line.deliveries for line in account.notices) > 1 + before:
        return f"the rider was told {', '.join(told)}"
    return None


def refused_yet_booked(account: Account) -> str | None:
    if account.sample.refused and account.row:
        return f"answered {account.sample.status}, yet booking has a row in state {account.row.state}"
    return None


CHECKS: Mapping[Kind, Callable[[Account], str | None]] = {
    Kind.NO_ROW: no_row,
    Kind.UNTOLD: untold,
    Kind.TWO_ROWS: two_rows,
    Kind.TOLD_AGAIN: told_again,
    Kind.REFUSED_YET_BOOKED: refused_yet_booked,
}


def find(
    accounts: Sequence[Account], rows: Sequence[LedgerLine], earlier: Sequence[LedgerLine] = ()
) -> Iterator[Discrepancy]:
    """``earlier``: rows of the scenarios before, whose drivers cannot be given away again."""
    yield from in_one_account(accounts)
    yield from never_offered(accounts, rows)
    yield from drivers_twice(rows, earlier)


def in_one_account(accounts: Iterable[Account]) -> Iterator[Discrepancy]:
    for account in accounts:
        for kind, check in CHECKS.items():
            if detail := check(account):
                key, label = account.sample.key, account.sample.label
                yield Discrepancy(kind=kind, label=label, key=key, booking_id=account.booking_id, detail=detail)


def never_offered(accounts: Iterable[Account], rows: Iterable[LedgerLine]) -> Iterator[Discrepancy]:
    offered = {account.sample.key for account in accounts}
    for row in rows:
        if row.key not in offered:
            yield about(row, Kind.NEVER_OFFERED, "booking has a row under a key that the generator never sent")


def drivers_twice(rows: Iterable[LedgerLine], earlier: Iterable[LedgerLine]) -> Iterator[Discrepancy]:
    known = {row.booking_id for row in earlier}
    for slot, holders in grouped(filter(holds_driver, (*earlier, *rows)), assignment).items():
        for row in holders[1:]:
            if row.booking_id not in known:
                yield about(row, Kind.DRIVER_TWICE, f"{slot} was already given to {holders[0].booking_id}")


def holds_driver(row: LedgerLine) -> bool:
    return row.state is State.CONFIRMED and row.driver is not None


def assignment(row: LedgerLine) -> str:
    return f"driver {row.driver} of {row.fleet} at {slot_text(row.slot)}"


def slot_text(slot: datetime | None) -> str:
    return "no slot" if slot is None else slot.isoformat()


def about(row: LedgerLine, kind: Kind, detail: str) -> Discrepancy:
    return Discrepancy(kind=kind, label=label_of(row.key), key=row.key, booking_id=row.booking_id, detail=detail)


def label_of(key: str) -> str:
    """The plan that a key of ours belongs to: ``<run>-<scenario>-<label>-<ride>``."""
    return next((label for label in PLANS if f"-{label}-" in key), "")
