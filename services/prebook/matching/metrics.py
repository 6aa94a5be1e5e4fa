"""Prometheus metrics of matching, created at import: one process runs one service."""

from prometheus_client import Counter

from prebook.matching.domain.auction import Auction
from prebook.patterns.scatter_gather import ReplyVerdict

_FLEET_REPLIES = Counter(
    "prebook_fleet_replies",
    "Replies of fleets to auctions by verdict: used, late (the auction was decided), duplicate, unreadable, or missing "
    "(the fleet had no reply).",
    ("verdict",),
)
_AUCTIONS_COMPLETED = Counter(
    "prebook_auctions_completed",
    "Auctions that were decided, by what completed them: enough offers, all fleets replied, or the deadline with at "
    "least one offer.",
    ("by",),
)


def count_fleet_reply(before: Auction, after: Auction) -> None:
    """Count what became of the reply that made this change, and the auction if it was completed."""
    for verdict in ReplyVerdict:
        _FLEET_REPLIES.labels(verdict.value).inc(
            getattr(after.replies, verdict.value) - getattr(before.replies, verdict.value)
        )
    if after.completed_by is not None and before.completed_by is None:
        _AUCTIONS_COMPLETED.labels(after.completed_by.value).inc()
