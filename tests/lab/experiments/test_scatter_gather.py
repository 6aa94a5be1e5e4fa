"""Laws of the experiment scatter-gather, without servers: each is broken by what it forbids, and by nothing else."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.scatter_gather.laws import (
    ANSWERED,
    IN_TIME,
    NO_WAIT,
    PARTIAL,
    REPLIES,
    AuctionFacts,
    AuctionsSeen,
    auction_checks,
    wait_check,
)
from prebook.patterns.scatter_gather import Completion, ReplyCounts

OPENED_AT = datetime(2027, 3, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return OPENED_AT + timedelta(seconds=seconds)


QUICK = AuctionFacts(
    booking_id="quick",
    asked=3,
    replies=ReplyCounts(used=2, late=1),
    completed_by=Completion.ENOUGH,
    replies_sent=3,
    opened_at=OPENED_AT,
    decided_at=at(0.1),
    offers_at=(at(0.05), at(0.08), at(0.5)),
    answer_replied=2,
    disturbed=False,
)
DUE = AuctionFacts(
    booking_id="due",
    asked=3,
    replies=ReplyCounts(used=1, unreadable=1, missing=1),
    completed_by=Completion.DEADLINE,
    replies_sent=3,
    opened_at=OPENED_AT,
    decided_at=at(1.1),
    offers_at=(at(0.1),),
    answer_replied=2,
    disturbed=False,
)
LATE_OFFER = AuctionFacts(
    booking_id="late offer",
    asked=3,
    replies=ReplyCounts(used=3),
    completed_by=Completion.ALL_REPLIED,
    replies_sent=3,
    opened_at=OPENED_AT,
    decided_at=at(2.6),
    offers_at=(at(2.5),),
    answer_replied=3,
    disturbed=False,
)
ALL = (QUICK, DUE, LATE_OFFER)


def violated(*auctions: AuctionFacts) -> set[str]:
    checks = auction_checks(AuctionsSeen(3, auctions, 1.0), "")
    return {check.law for check in checks if check.verdict is LawVerdict.VIOLATED}


def changed(auction: AuctionFacts, **changes: object) -> AuctionFacts:
    return msgspec.structs.replace(auction, **changes)


def test_a_run_without_a_defect_keeps_every_law() -> None:
    assert violated(*ALL) == set()


@pytest.mark.parametrize(
    ("auctions", "laws"),
    [
        ((QUICK, DUE), {ANSWERED}),
        ((changed(QUICK, answer_replied=None), DUE, LATE_OFFER), {ANSWERED}),
        # A late reply that was not counted, one that was counted twice, and one that no fleet has recorded.
        ((changed(QUICK, replies=ReplyCounts(used=2)), DUE, LATE_OFFER), {REPLIES}),
        ((changed(QUICK, replies=ReplyCounts(used=2, late=1, duplicate=1)), DUE, LATE_OFFER), {REPLIES}),
        ((changed(QUICK, replies_sent=2), DUE, LATE_OFFER), {REPLIES}),
        # An answer that counts a late reply, and one that leaves out a used one.
        ((changed(QUICK, answer_replied=3), DUE, LATE_OFFER), {PARTIAL}),
        ((changed(QUICK, answer_replied=1), DUE, LATE_OFFER), {PARTIAL}),
        ((QUICK, changed(DUE, decided_at=at(1.3)), LATE_OFFER), {IN_TIME}),
        ((QUICK, changed(DUE, decided_at=at(1.3), disturbed=True), LATE_OFFER), set()),
        (
            (QUICK, changed(DUE, offers_at=(at(0.1), at(0.2)), completed_by=Completion.ALL_REPLIED), LATE_OFFER),
            {NO_WAIT},
        ),
    ],
)
def test_each_defect_breaks_exactly_its_laws(auctions: tuple[AuctionFacts, ...], laws: set[str]) -> None:
    assert violated(*auctions) == laws


def test_an_answer_may_count_an_unreadable_reply_or_not() -> None:
    assert violated(QUICK, changed(DUE, answer_replied=1), LATE_OFFER) == set()
    assert violated(QUICK, changed(DUE, answer_replied=3), LATE_OFFER) == {PARTIAL}


def test_a_busy_machine_makes_the_law_about_time_inconclusive_and_no_other() -> None:
    late = changed(DUE, decided_at=at(9))
    checks = list(auction_checks(AuctionsSeen(3, (QUICK, late, LATE_OFFER), 1.0), "busy"))
    assert [check.law for check in checks if check.verdict is LawVerdict.INCONCLUSIVE] == [IN_TIME]


def test_waiting_for_all_must_wait_for_a_fleet_without_a_reply() -> None:
    assert not wait_check(AuctionsSeen(3, ALL, 300.0)).is_as_expected
    waited = changed(QUICK, completed_by=Completion.ALL_REPLIED, replies=ReplyCounts(used=2, missing=1))
    assert wait_check(AuctionsSeen(3, (waited,), 300.0)).is_as_expected
