"""Laws of the experiment claim-check, without servers: each is broken by what it forbids, and by nothing else."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from prebook.contracts.route import MAX_ROUTE_BYTES
from prebook.lab.experiments.claim_check.laws import (
    BALANCE,
    CHEAPER,
    COMPUTED,
    NO_ORPHANS,
    RECEIVED,
    TOO_SHORT,
    BodiesSeen,
    body_checks,
    bytes_check,
)
from prebook.lab.experiments.claim_check.riders import ROUTE_BYTES, route_of
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.load.rides import campaign_week, nth_ride
from prebook.messaging.clock import utc_now

GOOD = BodiesSeen(
    planned=16, parked=4, received=16, checked=16, read=14, deleted_unread=1, waiting=1, orphans=0, kept=1
)


def violated(arrangement: str, **changes: Any) -> list[str]:
    seen = replace(GOOD, **changes)
    return [check.law for check in body_checks(arrangement, seen) if check.verdict is LawVerdict.VIOLATED]


def test_a_good_run_violates_no_law() -> None:
    assert violated(COMPUTED) == []
    assert all(check.is_as_expected for check in body_checks(COMPUTED, GOOD))


@pytest.mark.parametrize(
    ("changes", "law"),
    [
        ({"received": 15}, RECEIVED),
        ({"read": 13}, BALANCE),
        ({"checked": 17}, BALANCE),
        ({"orphans": 1}, NO_ORPHANS),
    ],
)
def test_each_law_is_broken_by_what_it_forbids(changes: dict[str, int], law: str) -> None:
    assert violated(COMPUTED, **changes) == [law]


def test_the_wrong_way_must_lose_routes() -> None:
    problems = [check.problem for check in body_checks(TOO_SHORT, GOOD) if check.problem]
    assert len(problems) == 1
    assert problems[0].startswith("nothing was shown")
    assert all(check.is_as_expected for check in body_checks(TOO_SHORT, replace(GOOD, received=12)))


@pytest.mark.parametrize(("inline", "verdict"), [(20_000, LawVerdict.HELD), (19_999, LawVerdict.VIOLATED)])
def test_a_check_must_cost_a_twentieth_of_the_body(inline: int, verdict: LawVerdict) -> None:
    check = bytes_check(inline, 1_000)
    assert (check.law, check.verdict) == (CHEAPER, verdict)


def test_a_route_of_the_riders_is_as_large_as_it_says() -> None:
    geometry = route_of(nth_ride(1, 0, campaign_week(utc_now())))
    size = len(msgspec.json.encode(geometry))
    assert ROUTE_BYTES * 0.9 < size < MAX_ROUTE_BYTES
