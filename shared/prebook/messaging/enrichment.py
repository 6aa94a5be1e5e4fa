"""Enrichment of messages before their transaction: asks the cache, then the resource, then the policy.

A lookup never happens inside a transaction, which would hold its locks and its connection for as long as the resource
takes. Source: EIP, Content Enricher.
"""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from prebook.messaging.errors import PermanentFailure, Unreachable
from prebook.patterns.enricher import (
    AbsencePolicy,
    Enrichment,
    EnrichmentCache,
    EnrichmentOutcome,
    enrich_without_resource,
)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
LookUp = Callable[[K], Awaitable[V]]
"""Asks the resource for the content of a key. Raises Unreachable if the resource is away."""


class EnrichmentMissing(PermanentFailure):
    """The content of a message could not be looked up, and the policy is to park the message."""

    cause = "enrichment_missing"


class Enricher(Generic[K, V]):
    """Looks up the content for messages from one resource. ``clock``: monotonic seconds."""

    def __init__(
        self,
        look_up: LookUp[K, V],
        policy: AbsencePolicy,
        cache: EnrichmentCache[K, V],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._policy = policy
        self._cache = cache
        self._clock = clock

    async def enrich(self, key: K) -> Enrichment[V]:
        """Return the content of ``key``, or an enrichment without one if the policy is to skip.

        Raises:
            Unreachable: The resource is away, and the message waits: its consumer pauses and uses up no attempt.
            EnrichmentMissing: The resource is away, and the message is parked.
        """
        if found := self._cache.find(key, self._clock()):
            return found
        try:
            content = await self._look_up(key)
        except Unreachable as error:
            instead: Enrichment[V] | None = enrich_without_resource(self._policy)
            if instead is None:
                raise
            if instead.outcome is EnrichmentOutcome.PARKED:
                raise EnrichmentMissing(str(error)) from error
            return instead
        return self._cache.add(key, content, self._clock())
