"""Enrichment of requests for a fare with the rider's profile, which notification owns. Source: EIP, Content Enricher.

The profile is looked up before the transaction: a quote locks the campaign's only row, so a lookup inside
would make every other quote wait for notification, too.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import structs

from prebook.contracts.pricing import QuoteFare
from prebook.contracts.riders import FareEnrichment, RiderProfile
from prebook.coupling.http_errors import error_from_response
from prebook.coupling.ports import HttpClient
from prebook.flows import QUOTE_FARE, RIDER_PROFILE, Flow
from prebook.messaging.enrichment import Enricher, EnrichmentMissing
from prebook.messaging.handlers import HandlerContext, PreTransaction
from prebook.patterns.enricher import AbsencePolicy, Enrichment, EnrichmentCache, EnrichmentOutcome
from prebook.pricing import metrics
from prebook.runtime.settings import ServiceSettings

LOOKUP_TIMEOUT_S = 2.0
"""Seconds for one lookup; booking waits for the fare meanwhile."""
CACHE_ENTRIES = 10_000
"""Maximum number of profiles in the cache, of about 200 bytes each."""


def lookups(settings: ServiceSettings, http: HttpClient) -> Mapping[Flow[Any, Any], PreTransaction]:
    """Calls before the transaction of a quote: none unless fares are enriched."""
    if not settings.enriches_fares:
        return {}
    cache: EnrichmentCache[str, RiderProfile] = EnrichmentCache(
        max_age_s=settings.profile_max_age_s, max_entries=CACHE_ENTRIES
    )
    policy = AbsencePolicy(settings.fare_enrichment)
    return {QUOTE_FARE: enrich_request(Enricher(ProfileLookup(http), policy, cache))}


def enrich_request(enricher: Enricher[str, RiderProfile]) -> PreTransaction:
    """Pre-transaction step that adds the profile of the request's rider. A request that names none is skipped."""

    async def pre_transaction(_: HandlerContext, request: QuoteFare) -> QuoteFare:
        if request.rider_id is None:
            found: Enrichment[RiderProfile] = Enrichment(EnrichmentOutcome.SKIPPED)
        else:
            try:
                found = await enricher.enrich(request.rider_id)
            except EnrichmentMissing:
                metrics.count_enrichment(EnrichmentOutcome.PARKED, None)
                raise
        metrics.count_enrichment(found.outcome, found.age_s)
        enrichment = FareEnrichment(outcome=found.outcome, age_s=found.age_s)
        return structs.replace(request, profile=found.content, enrichment=enrichment)

    return pre_transaction


class ProfileLookup:
    """Reads profiles from notification."""

    def __init__(self, http: HttpClient) -> None:
        """``http`` signs calls in the name of pricing."""
        self._http = http

    async def __call__(self, rider_id: str) -> RiderProfile:
        """Return the profile of a rider, or the default one. Raises Unreachable, Undeliverable."""
        path = f"/v1/riders/{rider_id}/profile"
        response = await self._http.request("GET", RIDER_PROFILE.owner, path, headers={}, timeout_s=LOOKUP_TIMEOUT_S)
        if response.status == HTTPStatus.NOT_FOUND:
            return RiderProfile()
        if response.status != HTTPStatus.OK:
            raise error_from_response(RIDER_PROFILE.owner, response)
        return msgspec.json.decode(response.body, type=RiderProfile)
