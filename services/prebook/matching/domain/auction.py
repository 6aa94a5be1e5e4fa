"""An auction among fleets: requests to all, the best of the first offers wins. Source: EIP, Scatter-Gather."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

MIN_OFFERS = 2
"""Offers that complete an auction; waiting for the others is not worth the rider's time."""


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

    @property
    def is_complete(self) -> bool:
        """Whether to decide now: enough offers are in, or no reply is pending."""
        return not self.closed and (len(self.offers) >= MIN_OFFERS or not self.pending_fleets)

    @property
    def ranked_offers(self) -> tuple[Offer, ...]:
        """Offers, best first."""
        return tuple(sorted(self.offers, key=lambda offer: offer.rank))

    def with_reply(self, fleet: str, offer: Offer | None) -> Self:
        """Auction with a fleet's reply; ``offer`` is None if the fleet declined or did not reply in time."""
        offers = self.offers if offer is None else (*self.offers, offer)
        return replace(self, pending_fleets=self.pending_fleets - {fleet}, offers=offers)

    def with_late_reply(self, fleet: str, offer: Offer | None) -> Self:
        """Closed auction with a fleet's reply; an offer is only counted."""
        return replace(
            self, pending_fleets=self.pending_fleets - {fleet}, late_offers=self.late_offers + (offer is not None)
        )

    def without_offers(self) -> Self:
        """Auction whose offers so far are lost: their drivers were assigned to other bookings."""
        return replace(self, lost_offers=self.lost_offers + len(self.offers), offers=())

    def decided(self, winner: Offer | None) -> Self:
        """Closed auction with its winner, or None."""
        return replace(self, winner=winner, closed=True)
