"""Content enricher: adds to a message what its receiver needs and its sender does not have, from a resource.

The resource may be unavailable. A policy then decides whether the message waits, goes on without the content, or is
parked; every enrichment records what happened, and how old its content is. Laws, whatever the resource returns:

- messages in = enriched + skipped + parked, once none waits any more;
- no content is older than the maximum age of the cache.

Source: EIP, Content Enricher.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
"""Key by which the resource is asked."""
V = TypeVar("V")
"""Content that the resource has for a key."""


class AbsencePolicy(StrEnum):
    """Decision about a message whose content cannot be looked up now."""

    WAIT = "wait"
    """The message waits in its queue until the resource is back."""
    SKIP = "skip"
    """The message goes on without the content."""
    PARK = "park"
    """The message is parked, and replayed once the resource is back."""


class EnrichmentOutcome(StrEnum):
    """Result of an enrichment; every message has exactly one in the end."""

    ENRICHED = "enriched"
    SKIPPED = "skipped"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Enrichment(Generic[V]):
    """Content for one message, or the reason why it has none."""

    outcome: EnrichmentOutcome
    content: V | None = None
    age_s: float | None = None
    """Seconds since the resource gave the content; None without content."""


def enrich_without_resource(policy: AbsencePolicy) -> Enrichment[V] | None:
    """Return the enrichment of a message while the resource is away; None: the message waits."""
    match policy:
        case AbsencePolicy.WAIT:
            return None
        case AbsencePolicy.SKIP:
            return Enrichment(EnrichmentOutcome.SKIPPED)
        case AbsencePolicy.PARK:
            return Enrichment(EnrichmentOutcome.PARKED)


class EnrichmentCache(Generic[K, V]):
    """Contents of a resource with the time at which it gave them. All times are seconds of one monotonic clock.

    The cache holds at most ``max_entries`` contents, of which none is used after ``max_age_s`` seconds; with an age of
    0 nothing is kept. A full cache evicts the content that was looked up first.
    """

    def __init__(self, *, max_age_s: float, max_entries: int) -> None:
        self._max_age_s = max_age_s
        self._max_entries = max_entries
        self._entries: dict[K, tuple[V, float]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: K, now: float) -> Enrichment[V] | None:
        """Return the enrichment with the content of ``key``; None if there is none that is young enough."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        content, given_at = entry
        age_s = max(0.0, now - given_at)
        if age_s > self._max_age_s:
            del self._entries[key]
            return None
        return Enrichment(EnrichmentOutcome.ENRICHED, content, age_s)

    def add(self, key: K, content: V, now: float) -> Enrichment[V]:
        """Keep a content that the resource gives now, and return the enrichment with it."""
        self._entries.pop(key, None)
        if self._max_age_s > 0:
            self._entries[key] = (content, now)
        while len(self._entries) > self._max_entries:
            del self._entries[next(iter(self._entries))]
        return Enrichment(EnrichmentOutcome.ENRICHED, content, 0.0)
