"""Laws of the content enricher: every message has one outcome, and no content is older than the cache allows."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.messaging.enrichment import Enricher, EnrichmentMissing
from prebook.messaging.errors import Unreachable
from prebook.patterns.enricher import AbsencePolicy, EnrichmentCache, EnrichmentOutcome

MAX_AGE_S = 10.0
KEYS = st.sampled_from("abcdef")
STEPS = st.lists(st.tuples(KEYS, st.booleans(), st.floats(0.0, 4.0)), max_size=60)
"""Key of each message, whether the resource is there, and the seconds until the next message."""


class Resource:
    """Resource in memory with a clock; its content for a key says when it was asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.is_up = True
        self.lookups = 0

    async def look_up(self, key: str) -> tuple[str, float]:
        self.lookups += 1
        if not self.is_up:
            raise Unreachable("away")
        return key, self.now


def enricher(
    resource: Resource, policy: AbsencePolicy, *, max_age_s: float = MAX_AGE_S, max_entries: int = 4
) -> tuple[Enricher[str, tuple[str, float]], EnrichmentCache[str, tuple[str, float]]]:
    cache: EnrichmentCache[str, tuple[str, float]] = EnrichmentCache(max_age_s=max_age_s, max_entries=max_entries)
    return Enricher(resource.look_up, policy, cache, clock=lambda: resource.now), cache


@given(STEPS, st.sampled_from(AbsencePolicy))
async def test_every_message_has_one_outcome_and_its_content_is_young(
    steps: list[tuple[str, bool, float]], policy: AbsencePolicy
) -> None:
    resource = Resource()
    enriching, cache = enricher(resource, policy)
    outcomes: Counter[str] = Counter()
    for key, is_up, pause_s in steps:
        resource.is_up = is_up
        try:
            enrichment = await enriching.enrich(key)
        except EnrichmentMissing:
            outcomes["parked"] += 1
        except Unreachable:
            outcomes["waiting"] += 1
        else:
            outcomes[enrichment.outcome] += 1
            if enrichment.outcome is EnrichmentOutcome.ENRICHED:
                assert enrichment.content is not None
                assert enrichment.age_s is not None
                content_key, given_at = enrichment.content
                assert content_key == key
                assert enrichment.age_s == pytest.approx(resource.now - given_at)
                assert enrichment.age_s <= MAX_AGE_S
            else:
                assert (enrichment.content, enrichment.age_s) == (None, None)
        assert len(cache) <= 4
        resource.now += pause_s
    assert outcomes.total() == len(steps)
    allowed = {AbsencePolicy.WAIT: "waiting", AbsencePolicy.SKIP: "skipped", AbsencePolicy.PARK: "parked"}[policy]
    assert outcomes.keys() <= {"enriched", allowed}


async def test_a_young_content_is_not_looked_up_again() -> None:
    resource = Resource()
    enriching, _ = enricher(resource, AbsencePolicy.WAIT)
    await enriching.enrich("a")
    resource.now, resource.is_up = MAX_AGE_S, False
    found = await enriching.enrich("a")
    assert (found.content, found.age_s, resource.lookups) == (("a", 0.0), MAX_AGE_S, 1)


async def test_a_content_that_is_too_old_is_looked_up_again() -> None:
    resource = Resource()
    enriching, _ = enricher(resource, AbsencePolicy.SKIP)
    await enriching.enrich("a")
    resource.now, resource.is_up = MAX_AGE_S + 0.1, False
    assert (await enriching.enrich("a")).outcome is EnrichmentOutcome.SKIPPED


async def test_the_cache_gives_up_the_content_that_was_looked_up_first() -> None:
    resource = Resource()
    enriching, cache = enricher(resource, AbsencePolicy.SKIP, max_entries=2)
    for key in "abac":
        await enriching.enrich(key)
    assert (len(cache), resource.lookups) == (2, 3)
    assert cache.find("a", resource.now) is None


async def test_without_an_age_nothing_is_kept() -> None:
    resource = Resource()
    enriching, cache = enricher(resource, AbsencePolicy.SKIP, max_age_s=0.0)
    await enriching.enrich("a")
    await enriching.enrich("a")
    assert (len(cache), resource.lookups) == (0, 2)
