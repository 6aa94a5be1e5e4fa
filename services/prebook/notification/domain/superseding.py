"""Which notice comes too late to be told."""

from collections.abc import Mapping

from prebook.contracts.notification import Notice

SUPERSEDES: Mapping[Notice, tuple[Notice, ...]] = {Notice.CANCELLED: (Notice.CONFIRMED,)}
"""Who has been told the one is not told the others any more: a ride is confirmed, then cancelled, never the other way.

A notice that failed is asked for again after a pause, and what happened to the booking meanwhile may be told by then.
"""
