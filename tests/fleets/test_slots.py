"""Slots of a ride: rides that overlap share one, so that the unique key of reservations keeps them apart."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.contracts.distance import ride_minutes
from prebook.contracts.ride import Place
from prebook.fleets.domain.fleet import SLOT, covered_slots, slot_of

MOMENTS = st.datetimes(datetime(2027, 3, 27), datetime(2027, 3, 29), timezones=st.timezones())  # noqa: DTZ001 - zoned by hypothesis
"""Around a change of the clocks in many zones."""
MINUTES = st.integers(1, 24 * 60)


@given(MOMENTS, MINUTES, st.timedeltas(timedelta(0), timedelta(days=1)), MINUTES)
def test_rides_that_overlap_share_a_slot(at: datetime, minutes: int, delay: timedelta, later_minutes: int) -> None:
    first = covered_slots(at, minutes)
    begin = at.astimezone(UTC) + delay
    second = covered_slots(begin, later_minutes)
    overlap = delay < timedelta(minutes=minutes)
    assert bool(set(first) & set(second)) >= overlap


@given(MOMENTS, MINUTES)
def test_slots_cover_the_ride_without_a_gap_and_no_more(at: datetime, minutes: int) -> None:
    slots = covered_slots(at, minutes)
    end = at.astimezone(UTC) + timedelta(minutes=minutes)
    assert slots[0] == slot_of(at) <= at
    assert slots[-1] < end <= slots[-1] + SLOT
    assert [b - a for a, b in pairwise(slots)] == [SLOT] * (len(slots) - 1)


@pytest.mark.parametrize(("minutes", "count"), [(1, 1), (10, 1), (11, 2), (25, 2), (26, 3)])
def test_a_ride_that_ends_with_a_slot_does_not_cover_the_next(minutes: int, count: int) -> None:
    assert len(covered_slots(datetime(2027, 3, 1, 8, 20, tzinfo=UTC), minutes)) == count


@pytest.mark.parametrize(("lat", "minutes"), [(52.5, 1), (52.59, 21), (54.29, 399)])
def test_a_ride_takes_a_minute_for_every_five_hundred_metres(lat: float, minutes: int) -> None:
    assert ride_minutes(Place(lat=52.5, lon=13.4), Place(lat=lat, lon=13.4)) == minutes
