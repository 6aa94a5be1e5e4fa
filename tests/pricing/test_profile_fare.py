"""Fares with a rider's profile: the tier lowers them, and the home zone has no surcharge for demand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.contracts.pricing import FareQuoted
from prebook.contracts.riders import FareEnrichment, RiderProfile, RiderTier
from prebook.contracts.zone import zone_name
from prebook.pricing.domain.fare import TIER_PERCENT, fare_of
from prebook.pricing.domain.money import percent_of
from tests.pricing.conftest import Begin
from tests.pricing.quotes import BERLIN, quote, ride


@pytest.mark.parametrize("tier", RiderTier)
def test_a_tier_lowers_the_fare_by_its_percentage(tier: RiderTier) -> None:
    plain = fare_of(ride())
    assert isinstance(plain, int)
    assert fare_of(ride(profile=RiderProfile(tier=tier))) == plain - percent_of(plain, TIER_PERCENT[tier])


def test_the_default_profile_changes_no_fare() -> None:
    assert fare_of(ride(profile=RiderProfile())) == fare_of(ride())


def test_the_home_zone_has_no_surcharge_for_demand() -> None:
    plain = fare_of(ride())
    assert isinstance(plain, int)
    at_home = fare_of(ride(profile=RiderProfile(home_zone=zone_name(BERLIN))))
    assert isinstance(at_home, int)
    assert at_home < plain
    assert fare_of(ride(profile=RiderProfile(home_zone="0:0"))) == plain


@given(st.sampled_from(RiderTier), st.booleans(), st.integers(1, 6))
def test_no_profile_makes_a_ride_dearer(tier: RiderTier, at_home: bool, passengers: int) -> None:
    profile = RiderProfile(tier=tier, home_zone=zone_name(BERLIN) if at_home else None)
    enriched = fare_of(ride(profile=profile, passengers=passengers))
    plain = fare_of(ride(passengers=passengers))
    assert isinstance(enriched, int)
    assert isinstance(plain, int)
    assert 0 < enriched <= plain


async def test_a_quote_tells_its_enrichment(begin: Begin) -> None:
    told = FareEnrichment(outcome="enriched", age_s=1.5)
    reply = await quote(begin, "b1", quota=0, profile=RiderProfile(tier=RiderTier.GOLD), enrichment=told)
    assert isinstance(reply, FareQuoted)
    assert reply.enrichment == told
