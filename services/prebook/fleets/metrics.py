"""Prometheus metrics of fleets, created at import: one process runs one service."""

from prometheus_client import Counter

_PARTNER_REPLIES = Counter(
    "prebook_partner_replies",
    "Calls of partner fleets by outcome: accepted, declined, no_reply in time, or, of unreadable replies, garbled or "
    "unknown_version.",
    ("fleet", "outcome"),
)


def count_partner_reply(fleet: str, outcome: str) -> None:
    """Count one call of a partner fleet by its outcome."""
    _PARTNER_REPLIES.labels(fleet, outcome).inc()
