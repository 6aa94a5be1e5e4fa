"""Deviation between the clocks of the load generator and of the services."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from prebook.lab.ledger.accounts import RideAccount

MAX_CLOCK_DEVIATION_S = 0.1
"""Largest deviation with which latencies are still usable: they compare times of different clocks."""


def clock_deviation_s(accounts: Sequence[RideAccount]) -> float:
    """Return the largest contradiction between two clocks in seconds; 0.0 if there is none.

    A booking is accepted after its request was sent and before its response arrived, and it is settled and notified
    after its request was sent. A service whose timestamps say otherwise has another time than the load generator, by
    at least the result.
    """
    return max((contradiction.total_seconds() for contradiction in _contradictions(accounts)), default=0.0)


def _contradictions(accounts: Iterable[RideAccount]) -> Iterator[timedelta]:
    yield timedelta(0)
    for account in accounts:
        if account.row is None:
            continue
        sent_at = account.sample.intended_at + timedelta(milliseconds=account.sample.lag_ms)
        for moment in (account.row.accepted_at, account.row.settled_at, account.notified_at):
            if moment is not None:
                yield sent_at - moment
        if responded_at := _responded_at(account):
            yield account.row.accepted_at - responded_at


def _responded_at(account: RideAccount) -> datetime | None:
    response_ms = account.sample.response_ms
    return None if response_ms is None else account.sample.intended_at + timedelta(milliseconds=response_ms)
