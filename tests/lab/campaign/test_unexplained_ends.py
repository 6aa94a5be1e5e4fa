"""Ends without an answer that no fault of a scenario can have caused."""

import msgspec
import pytest

from prebook.contracts.ride import BookingState
from prebook.lab.campaign.unexplained_ends import find_unexplained_ends
from prebook.lab.faults import FAULT_CATALOGUE, FaultWindow
from prebook.lab.ledger.accounts import RideAccount, build_accounts
from prebook.lab.ledger.discrepancies import LOST_KINDS
from tests.lab.ledger.accounts_builder import at, delivery_of, row, sample

ENDED_S = 300.0
"""Seconds from the offer of a ride to its end."""


def ended(
    state: BookingState = BookingState.EXPIRED, reason: str = "no fare: deadline", *, label: str = "one_way"
) -> RideAccount:
    offered = sample(label=label)
    entry = msgspec.structs.replace(row(offered, state), settled_at=at(ENDED_S), reason=reason)
    return build_accounts([offered], [entry], [delivery_of(entry, when=ENDED_S)])[0]


def named(account: RideAccount, fault: str = "", *, until_s: float = 0.0) -> list[str]:
    """Return the details of what is found with a fault from 10 s to ``until_s``."""
    window = FaultWindow(started_at=at(10.0), ended_at=at(until_s), took_effect=True, evidence="") if fault else None
    found = list(find_unexplained_ends([account], FAULT_CATALOGUE.get(fault), window))
    assert {item.kind for item in found} <= LOST_KINDS
    assert {item.booking_id for item in found} <= {account.booking_id}
    return [item.detail for item in found]


def test_a_ride_that_expires_without_a_fault_is_named() -> None:
    assert named(ended()) == ["expired (no fare: deadline), and no fault lasted long enough to cause it"]


@pytest.mark.parametrize(
    ("fault", "until_s", "explained"),
    [
        ("kill_pricing", 200.0, True),
        ("kill_pricing", 40.0, False),
        ("broker_restart", 200.0, True),
        ("database_restart", 200.0, True),
        ("kill_notification", 200.0, False),
        ("duplicate_everything", 200.0, False),
    ],
)
def test_only_a_fault_that_lasts_and_concerns_the_flow_explains_an_end(
    fault: str, until_s: float, explained: bool
) -> None:
    assert (named(ended(), fault, until_s=until_s) == []) is explained


@pytest.mark.parametrize(
    ("account", "is_named"),
    [
        (ended(label="sync_api"), False),  # a synchronous call fails on a busy machine, too
        (ended(label="mixed"), False),
        (ended(reason="no driver: deadline", label="mixed"), True),
        (ended(BookingState.FAILED, "no driver: 503", label="async_api"), True),
        (ended(BookingState.REJECTED, "no driver: no fleet has a driver"), False),
        (ended(BookingState.REJECTED, "no driver: the fleets' offers have run out"), True),
        (ended(BookingState.FAILED, "a reason that nobody knows"), True),
        (ended(BookingState.CONFIRMED, ""), False),
        (build_accounts([sample(status=503)], [], [])[0], False),
    ],
)
def test_an_answer_a_refusal_and_a_synchronous_call_are_not_named(account: RideAccount, is_named: bool) -> None:
    assert bool(named(account)) is is_named
