"""Defects of matching."""

from dataclasses import replace as copy
from typing import Any

from prebook.matching import process
from prebook.matching.domain.auction import Auction
from tests.mutations.seeding import is_chosen, replace

SHARE = 0.2


def verdict_not_sent() -> None:
    """Tell the fleets of some auctions nothing about their offers."""

    def make(decide: Any) -> Any:
        def decide_silently(auction: Auction, *decision: Any) -> Any:
            transition = decide(auction, *decision)
            return copy(transition, events=()) if is_chosen(auction.booking_id, SHARE) else transition

        return decide_silently

    replace(process, "decide", make)
