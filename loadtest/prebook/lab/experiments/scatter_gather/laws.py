"""Laws of a scatter-gather, as pure functions of what was requested and what the tables hold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.patterns.scatter_gather import Completion, ReplyCounts

ANSWERED = "requests for a driver without an answer = 0"
REPLIES = "replies that fleets sent = used + late + duplicate + unreadable + missing"
PARTIAL = "answers that do not say how many fleets had replied = 0"
NO_WAIT = "auctions with enough offers that waited for a fleet without a reply = 0"
IN_TIME = "auctions decided more than 250 ms after their deadline, or after the first offer = 0"
RIGHT = "two offers are enough"
WRONG = "wait for all fleets"
TOLERANCE_S = 0.25
ENOUGH = 2


class AuctionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one auction in the services' tables, and the answer."""

    booking_id: str
    asked: int
    replies: ReplyCounts
    completed_by: Completion | None
    replies_sent: int
    """Replies that fleets stored. A partner without a reply in time has one too, which says so."""
    opened_at: datetime
    decided_at: datetime | None
    """Commit of the answer; None without one."""
    offers_at: tuple[datetime, ...]
    """Times of the offers of the fleets, in their order."""
    answer_replied: int | None
    """Fleets that had replied, as the answer says; None if no answer was received."""
    disturbed: bool
    """Whether a process was killed while the auction may have been open."""

    @property
    def is_partial(self) -> bool:
        """Whether the answer says that a fleet had not replied."""
        return self.answer_replied is not None and self.answer_replied < self.asked

    @property
    def is_honest(self) -> bool:
        """Whether the answer counts the used replies, and no other than unreadable ones.

        Which unreadable reply came before the answer is not recorded.
        """
        used = self.replies.used
        return self.answer_replied is None or used <= self.answer_replied <= used + self.replies.unreadable


@dataclass(frozen=True)
class AuctionsSeen:
    """One run: the number of requests for a driver, and the facts about their auctions."""

    requested: int
    auctions: Sequence[AuctionFacts]
    deadline_s: float


def auction_checks(seen: AuctionsSeen, doubt: str) -> Iterable[LawCheck]:
    """Yield the checks of the right way. ``doubt``: why the law about time cannot be judged; empty if it can."""
    total = total_replies(seen.auctions)
    sent = sum(auction.replies_sent for auction in seen.auctions)
    unanswered = seen.requested - sum(auction.answer_replied is not None for auction in seen.auctions)
    dishonest = sum(not auction.is_honest for auction in seen.auctions)
    overdue = sum(is_overdue(auction, seen.deadline_s) for auction in seen.auctions if not auction.disturbed)
    yield check_law(ANSWERED, RIGHT, ("unanswered", unanswered), Relation.EQUAL, ("", 0))
    yield check_law(REPLIES, RIGHT, ("sent", sent), Relation.EQUAL, ("sum", total.received + total.missing))
    yield check_law(PARTIAL, RIGHT, ("wrong", dishonest), Relation.EQUAL, ("", 0))
    yield check_law(NO_WAIT, RIGHT, ("waited", needless_waits(seen.auctions)), Relation.EQUAL, ("", 0))
    yield check_law(IN_TIME, RIGHT, ("overdue", overdue), Relation.EQUAL, ("", 0), doubt=doubt)


def wait_check(seen: AuctionsSeen) -> LawCheck:
    """Return the check of the wrong way, in which one fleet is dead."""
    waited = ("waited", needless_waits(seen.auctions))
    return check_law(NO_WAIT, WRONG, waited, Relation.EQUAL, ("", 0), expected=LawVerdict.VIOLATED)


def total_replies(auctions: Iterable[AuctionFacts]) -> ReplyCounts:
    """Return the replies to all auctions by verdict."""
    return sum((auction.replies for auction in auctions), start=ReplyCounts())


def needless_waits(auctions: Iterable[AuctionFacts]) -> int:
    """Number of auctions with enough offers that were decided only once a fleet without a reply was abandoned."""
    return sum(
        len(auction.offers_at) >= ENOUGH
        and auction.completed_by is Completion.ALL_REPLIED
        and auction.replies.missing > 0
        for auction in auctions
    )


def is_overdue(auction: AuctionFacts, deadline_s: float) -> bool:
    """Return whether an auction with an offer was decided too late. Without an offer there is nothing to decide."""
    if auction.decided_at is None or not auction.offers_at:
        return False
    waited_s = (auction.decided_at - auction.opened_at).total_seconds()
    first_offer_s = (auction.offers_at[0] - auction.opened_at).total_seconds()
    return waited_s > max(deadline_s, first_offer_s) + TOLERANCE_S


def waits_s(auctions: Iterable[AuctionFacts]) -> list[float]:
    """Return the seconds from the request to the answer of each auction, the shortest first."""
    return sorted((a.decided_at - a.opened_at).total_seconds() for a in auctions if a.decided_at is not None)
