"""Feed of confirmed rides to a city authority: the pipe as a value, and the work of its stages. Source: EIP, Pipes and
Filters.

The authority gets the zone of the pickup instead of its position, and neither rider nor driver.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

import msgspec

from prebook.contracts.booking import RideDetails
from prebook.contracts.events import BookingConfirmed
from prebook.contracts.ride import Money, VehicleClass
from prebook.contracts.zone import zone_name
from prebook.coupling.http_errors import error_from_response
from prebook.coupling.ports import HttpClient
from prebook.flows import BOOKING_CONFIRMED
from prebook.http.push_target import PUSH_TIMEOUT_S
from prebook.messaging.enrichment import Enricher, EnrichmentMissing
from prebook.messaging.envelope import Envelope
from prebook.messaging.pipe_runner import StageWork
from prebook.patterns.enricher import AbsencePolicy, EnrichmentCache
from prebook.patterns.pipe import Filtered, Passed, Pipe, PipeStage, Refused, StageVerdict
from prebook.topology.external_edges import CITY_AUTHORITY, Contact, ExternalEdge
from prebook.topology.pipe import pipe_topology

ACCOUNT = "city_feed"
"""Broker account of the feed. Not a service."""
FILTER = "filter"
ENRICH = "enrich"
PUSH = "push"
LOOKUP_TIMEOUT_S = 5.0
CACHE_MAX_AGE_S = 60.0
CACHE_ENTRIES = 1_000
UNKNOWN_BOOKING = "unknown_booking"
"""Cause of an event whose booking does not exist."""


class CityRide(msgspec.Struct, frozen=True, kw_only=True):
    """Confirmed ride as the authority gets it."""

    id: str
    """Id of the event: a ride that is pushed twice has the same id."""
    booking_id: str
    fleet: str
    fare: Money
    pickup_zone: str | None = None
    pickup_at: datetime | None = None
    vehicle_class: VehicleClass | None = None
    passengers: int | None = None
    details: str = ""
    """``enriched``, or ``skipped`` if booking was away and the ride goes on without its details."""
    details_age_s: float | None = None
    """Seconds since booking gave the details; null without them."""


def city_feed(*, rate_per_s: float = 20.0, batch_size: int = 10, parallelism: int = 2) -> Pipe:
    """Return the pipe. ``rate_per_s``: rides per second that the authority takes; the others size the push stage."""
    push = PipeStage(name=PUSH, parallelism=parallelism, batch_size=batch_size, rate_per_s=rate_per_s, burst=batch_size)
    return Pipe(
        name="city_feed",
        source="city_feed.rides",
        stages=(PipeStage(name=FILTER), PipeStage(name=ENRICH, parallelism=4), push),
        target="city_authority",
    )


CITY_FEED_TOPOLOGY = pipe_topology(city_feed(), BOOKING_CONFIRMED, ACCOUNT)
"""Queue, account and permissions of the feed. They do not depend on the limits of its stages."""


def filter_by_fleet(fleets: Collection[str]) -> StageWork:
    """Stage that passes the rides of ``fleets``, or all if it is empty."""

    async def work(events: Sequence[Envelope]) -> Sequence[StageVerdict[Any]]:
        return [Passed(event) if _is_wanted(event, fleets) else Filtered() for event in events]

    return work


def enrich_with_ride(http: HttpClient, policy: AbsencePolicy) -> StageWork:
    """Stage that adds the details of the ride, which booking has. ``http`` signs calls in the name of the console."""

    async def look_up(booking_id: str) -> RideDetails | None:
        path = f"/v1/rides/{booking_id}"
        response = await http.request("GET", "booking", path, headers={}, timeout_s=LOOKUP_TIMEOUT_S)
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        if response.status != HTTPStatus.OK:
            raise error_from_response("booking", response)
        return msgspec.json.decode(response.body, type=RideDetails)

    cache: EnrichmentCache[str, RideDetails | None] = EnrichmentCache(
        max_age_s=CACHE_MAX_AGE_S, max_entries=CACHE_ENTRIES
    )
    enricher = Enricher(look_up, policy, cache)

    async def work(events: Sequence[Envelope]) -> Sequence[StageVerdict[Any]]:
        return [await _enrich(event, enricher) for event in events]

    return work


async def _enrich(event: Envelope, enricher: Enricher[str, RideDetails | None]) -> StageVerdict[CityRide]:
    """Add the details of the ride. Raises Unreachable while booking is away and the policy is to wait."""
    confirmed = _confirmed(event)
    ride = CityRide(id=event.id, booking_id=confirmed.booking_id, fleet=confirmed.fleet, fare=confirmed.fare)
    try:
        enrichment = await enricher.enrich(confirmed.booking_id)
    except EnrichmentMissing as error:
        return Refused(error.cause, str(error))
    details = enrichment.content
    if enrichment.age_s is None:
        return Passed(msgspec.structs.replace(ride, details=enrichment.outcome))
    if details is None:
        return Refused(UNKNOWN_BOOKING, "booking does not know the ride")
    return Passed(
        msgspec.structs.replace(
            ride,
            pickup_zone=zone_name(details.pickup),
            pickup_at=details.pickup_at,
            vehicle_class=details.vehicle_class,
            passengers=details.passengers,
            details=enrichment.outcome,
            details_age_s=round(enrichment.age_s, 3),
        )
    )


CITY_FEED_EDGE = ExternalEdge(
    name="city_feed",
    near=ACCOUNT,
    party=CITY_AUTHORITY,
    contact=Contact.CALLED,
    trigger=BOOKING_CONFIRMED,
    sends=(_enrich,),
    max_wait_s=PUSH_TIMEOUT_S,
)


def _is_wanted(event: Envelope, fleets: Collection[str]) -> bool:
    return not fleets or _confirmed(event).fleet in fleets


def _confirmed(event: Envelope) -> BookingConfirmed:
    assert isinstance(event.body, BookingConfirmed)  # noqa: S101 - no other event passes the check of the sender
    return event.body
