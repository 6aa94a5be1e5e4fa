"""An auction among fleets: requests to all, the best of the first offers wins. Source: EIP, Scatter-Gather."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from prebook.patterns.scatter_gather import (
    Choice,
    Completion,
    CompletionPolicy,
    ReplyCounts,
    ReplyVerdict,
    count_verdicts,
)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A fleet's offer of a driver for a slot."""

    fleet: str
    driver: str
    slot: datetime
    minutes_away: int

    @property
    def rank(self) -> tuple[int, str, str]:
        """Sort key of the offer: the lowest is the best, and ties are broken the same way everywhere."""
        return self.minutes_away, self.fleet, self.driver


@dataclass(frozen=True, kw_only=True)
class AuctionPolicy:
    """Fleets to ask, completion of an auction, and choice of the winner."""

    fleets: tuple[str, ...]
    completion: CompletionPolicy
    choice: Choice = Choice.NEAREST


@dataclass(frozen=True, kw_only=True)
class Auction:
    """An immutable auction; every transition returns the next one."""

    booking_id: str
    fleets_asked: int
    pending_fleets: frozenset[str]
    offers: tuple[Offer, ...] = field(default=())
    winner: Offer | None = None
    closed: bool = False
    late_offers: int = 0
    """Offers that arrived after the close."""
    lost_offers: int = 0
    """Offers whose driver's slot was assigned to another booking before the close."""
    verdicts: Mapping[str, tuple[ReplyVerdict, ...]] = field(default_factory=dict)
    """Fleet -> verdicts on its replies, in their order; a fleet that has not replied has none."""
    completed_by: Completion | None = None
    """Cause of the decision; None while the auction is open, and if the booking ended first."""

    @property
    def replies(self) -> ReplyCounts:
        """Replies of all fleets by verdict."""
        return count_verdicts(verdict for own in self.verdicts.values() for verdict in own)

    @property
    def fleets_replied(self) -> int:
        """Number of fleets that had replied when the auction was closed."""
        return self.replies.used + self.replies.unreadable

    def completion(self, policy: CompletionPolicy, age: timedelta) -> Completion | None:
        """Return the reason to decide the auction at this age; None if it stays open or is already closed."""
        if self.closed:
            return None
        return policy.completion(useful=len(self.offers), pending=len(self.pending_fleets), age_s=age.total_seconds())

    def ranked_offers(self, choice: Choice) -> tuple[Offer, ...]:
        """Offers, best first."""
        return self.offers if choice is Choice.FIRST else tuple(sorted(self.offers, key=lambda offer: offer.rank))

    def with_reply(self, fleet: str, offer: Offer | None, verdict: ReplyVerdict) -> Self:
        """Auction with a fleet's reply; ``offer`` is None if the fleet declined or did not reply in time.

        In a closed auction an offer is only counted.
        """
        verdicts = {**self.verdicts, fleet: (*self.verdicts.get(fleet, ()), verdict)}
        counted = replace(self, pending_fleets=self.pending_fleets - {fleet}, verdicts=verdicts)
        if offer is None or verdict is ReplyVerdict.DUPLICATE:
            return counted
        if self.closed:
            return replace(counted, late_offers=self.late_offers + 1)
        return replace(counted, offers=(*self.offers, offer))

    def without_offers(self) -> Self:
        """Auction whose offers so far are lost: their drivers were assigned to other bookings."""
        return replace(self, lost_offers=self.lost_offers + len(self.offers), offers=())

    def decided(self, winner: Offer | None, completed_by: Completion | None = None) -> Self:
        """Closed auction with its winner, or None."""
        return replace(self, winner=winner, closed=True, completed_by=self.completed_by or completed_by)
