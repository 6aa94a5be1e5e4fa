"""Notices that supersede others."""

from collections.abc import Mapping

from prebook.contracts.notification import Notice

SUPERSEDES: Mapping[Notice, tuple[Notice, ...]] = {Notice.CANCELLED: (Notice.CONFIRMED,)}
"""Notices that are no longer delivered after a later one: a ride is confirmed, then cancelled, never the reverse.

A failed notice is requested again after a delay, and the later notice may have been delivered in the meantime.
"""
