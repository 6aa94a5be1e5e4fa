"""An auction: asks many, hears some, takes the best (scatter-gather, Enterprise Integration Patterns)."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

MIN_OFFERS = 2
"""n of n-of-m: with so many offers in, waiting for the rest is not worth the rider's time."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    fleet: str
    driver: str
    slot: datetime
    minutes_away: int

    @property
    def rank(self) -> tuple[int, str, str]:
        """Lowest is best; the same for everybody who looks."""
        return self.minutes_away, self.fleet, self.driver


@dataclass(frozen=True, kw_only=True)
class Auction:
    """Every method returns the next auction; none looks outside."""

    booking_id: str
    fleets_asked: int
    pending_fleets: frozenset[str]
    offers: tuple[Offer, ...] = field(default=())
    winner: Offer | None = None
    closed: bool = False
    late_offers: int = 0
    """Offers that came after the close."""
    lost_offers: int = 0
    """Offers whose driver's slot was given to somebody else before the close."""

    @property
    def is_complete(self) -> bool:
        """Time to decide: enough offers are in, or nobody is left to hear from."""
        return not self.closed and (len(self.offers) >= MIN_OFFERS or not self.pending_fleets)

    @property
    def ranked_offers(self) -> tuple[Offer, ...]:
        return tuple(sorted(self.offers, key=lambda offer: offer.rank))

    def with_reply(self, fleet: str, offer: Offer | None) -> Self:
        offers = self.offers if offer is None else (*self.offers, offer)
        return replace(self, pending_fleets=self.pending_fleets - {fleet}, offers=offers)

    def with_late_reply(self, fleet: str, offer: Offer | None) -> Self:
        return replace(
            self, pending_fleets=self.pending_fleets - {fleet}, late_offers=self.late_offers + (offer is not None)
        )

    def without_offers(self) -> Self:
        """All the drivers offered so far were given away meanwhile."""
        return replace(self, lost_offers=self.lost_offers + len(self.offers), offers=())

    def decided(self, winner: Offer | None) -> Self:
        return replace(self, winner=winner, closed=True)
