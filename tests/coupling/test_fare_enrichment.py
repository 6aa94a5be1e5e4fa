"""Fares with the rider's profile in every coupling, and while notification, which has the profiles, is away."""

from typing import Any

import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.contracts.pricing import FareQuoted, QuoteFare
from prebook.contracts.ride import BookingState, Place
from prebook.contracts.riders import RiderProfile, RiderTier
from prebook.contracts.zone import zone_name
from prebook.flows import FLOWS, QUOTE_FARE
from prebook.messaging import addresses
from prebook.messaging.enrichment import EnrichmentMissing
from prebook.pricing.domain.campaign import discount_cents
from prebook.pricing.domain.fare import fare_of
from tests.conditions import poll_until
from tests.world import SuiteWorld, ride

GOLD = RiderProfile(tier=RiderTier.GOLD, home_zone=zone_name(Place(lat=52.5, lon=13.4)))
RIDER = str(ride()["rider_id"])
every_coupling = pytest.mark.parametrize("coupling", Coupling)


def quoted_cents(profile: RiderProfile | None) -> int:
    """Fare of the ride, less the discount of the campaign."""
    fields = {name: value for name, value in ride().items() if name != "rider_id"}
    cents = fare_of(msgspec.structs.replace(msgspec.convert(fields, QuoteFare), profile=profile))
    assert isinstance(cents, int)
    return cents - discount_cents(cents)


def enriching_world(policy: str, *, profile: RiderProfile | None = GOLD, **settings: Any) -> SuiteWorld:
    world = SuiteWorld(fare_enrichment=policy, **settings)
    if profile:
        world.databases["notification"].tables.state.profiles[RIDER] = profile
    return world


def outcomes(world: SuiteWorld) -> list[str | None]:
    """Outcomes of the enrichments that the quotes tell."""
    quotes = [reply.body for reply in world.databases["pricing"].tables.replies.values()]
    told = [quote.enrichment for quote in quotes if isinstance(quote, FareQuoted)]
    return [enrichment.outcome if enrichment else None for enrichment in told]


def lookups(world: SuiteWorld) -> int:
    return sum(call.startswith("GET notification/v1/riders/") for call in world.http.calls)


async def fare_cents(world: SuiteWorld, booking_id: str) -> int:
    view = await world.wait_until(booking_id, lambda view: view.state is BookingState.CONFIRMED)
    assert view.fare
    return view.fare.cents


@every_coupling
async def test_a_fare_follows_from_the_profile_of_its_rider(coupling: Coupling) -> None:
    async with enriching_world("wait") as world:
        booking_id = await world.book(dict.fromkeys(FLOWS, coupling))
        assert await fare_cents(world, booking_id) == quoted_cents(GOLD) < quoted_cents(None)
        assert outcomes(world) == ["enriched"]


@every_coupling
async def test_by_default_no_request_names_the_rider_and_no_fare_depends_on_the_profile(coupling: Coupling) -> None:
    async with enriching_world("off") as world:
        booking_id = await world.book(dict.fromkeys(FLOWS, coupling))
        assert await fare_cents(world, booking_id) == quoted_cents(None)
        assert lookups(world) == 0
        assert outcomes(world) == [None]


async def test_a_rider_without_a_profile_pays_the_standard_fare() -> None:
    async with enriching_world("park", profile=None) as world:
        booking_id = await world.book(dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY))
        assert await fare_cents(world, booking_id) == quoted_cents(None)


async def test_a_leg_of_a_trip_has_the_fare_of_its_rider_too() -> None:
    async with enriching_world("wait") as world:
        trip_id = await world.book_trip(dict.fromkeys(FLOWS, Coupling.ONE_WAY), [ride(), ride()])
        view = await world.wait_for_trip(trip_id, lambda view: view.settled)
        assert view.fare
        assert view.fare.cents == 2 * quoted_cents(GOLD)


@every_coupling
async def test_without_notification_a_skipped_profile_leaves_the_standard_fare(coupling: Coupling) -> None:
    async with enriching_world("skip") as world:
        world.down.add("notification")
        booking_id = await world.book(dict.fromkeys(FLOWS, coupling))
        assert await fare_cents(world, booking_id) == quoted_cents(None)
        assert outcomes(world) == ["skipped"]


async def test_a_caller_that_waits_for_its_fare_gives_up_as_without_pricing() -> None:
    async with enriching_world("wait") as world:
        world.down.add("notification")
        booking_id = await world.book(dict.fromkeys(FLOWS, Coupling.SYNC_API))
        view = await world.wait_until(booking_id, lambda view: view.settled)
        assert (view.state, view.reason) == (BookingState.FAILED, "no fare: refused")


@pytest.mark.parametrize("coupling", [Coupling.ASYNC_API, Coupling.ONE_WAY, Coupling.REQUEST_REPLY])
async def test_without_notification_a_request_waits_and_is_enriched_later(coupling: Coupling) -> None:
    async with enriching_world("wait") as world:
        world.down.add("notification")
        booking_id = await world.book(dict.fromkeys(FLOWS, coupling))
        await poll_until(lambda: _has_asked(world))
        assert (await world.fetch_view(booking_id)).state is BookingState.REQUESTED
        world.down.remove("notification")
        assert await fare_cents(world, booking_id) == quoted_cents(GOLD)


async def _has_asked(world: SuiteWorld) -> bool:
    return lookups(world) > 0


@pytest.mark.parametrize("coupling", [Coupling.ONE_WAY, Coupling.REQUEST_REPLY])
async def test_without_notification_a_request_is_parked_with_its_cause(coupling: Coupling) -> None:
    async with enriching_world("park") as world:
        world.down.add("notification")
        await world.book(dict.fromkeys(FLOWS, coupling))
        await world.broker.wait_for_message(addresses.PARKING_QUEUE)
        (parked,) = world.broker.queues[addresses.PARKING_QUEUE]
        assert parked.headers["prebook-x-cause"] == EnrichmentMissing.cause
        assert parked.headers["prebook-flow"] == QUOTE_FARE.name


def test_a_request_without_enrichment_has_the_fields_it_always_had() -> None:
    fields = {name: value for name, value in ride().items() if name != "rider_id"}
    request = msgspec.convert(fields, QuoteFare)
    assert msgspec.json.decode(msgspec.json.encode(request)).keys() == fields.keys()
