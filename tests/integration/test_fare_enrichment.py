"""Fares by the rider's profile on a running suite, while notification is killed. The suite of this module skips."""

import json
from collections.abc import Iterator

import pytest

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from tests.conditions import poll_until
from tests.integration.control_client import ControlClient
from tests.integration.metrics import read_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite, start_suite

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(900)]
OUTAGE_S = 20.0
WAIT_S = 120.0
SETTINGS = {
    "PREBOOK_FARE_ENRICHMENT": "skip",
    "PREBOOK_PROFILE_MAX_AGE_S": "0",
    "PREBOOK_BACK_PRESSURE": "off",
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with start_suite(SETTINGS, tmp_path_factory.mktemp("enriching") / "home") as suite:
        yield suite


async def confirmed_cents(rider: RiderClient, rider_id: str) -> int:
    """Book the same ride for a rider and return its fare."""
    booking_id = await rider.prebook(uniform_plan(Coupling.REQUEST_REPLY), rider_id=rider_id)

    async def is_confirmed() -> bool:
        return (await rider.fetch_view(booking_id)).state is BookingState.CONFIRMED

    await poll_until(is_confirmed, WAIT_S)
    view = await rider.fetch_view(booking_id)
    assert view.fare
    return view.fare.cents


async def test_a_profile_lowers_the_fare_until_notification_is_killed(
    suite: Suite, rider: RiderClient, control: ControlClient
) -> None:
    standard = await confirmed_cents(rider, "rosa")
    done = suite.prebook("profile", "set", "rosa", "--tier", "gold", "--json")
    assert json.loads(done.stdout) == {"tier": "gold", "home_zone": None}, done.stderr
    assert json.loads(suite.prebook("profile", "show", "rosa", "--json").stdout)["tier"] == "gold"
    gold = await confirmed_cents(rider, "rosa")
    assert gold < standard
    assert await confirmed_cents(rider, "otto") == standard

    await control.kill("notification", OUTAGE_S)
    assert await confirmed_cents(rider, "rosa") == standard
    assert await read_counter(suite, "prebook_fare_enrichments_total", "pricing", outcome="skipped") == 1
    assert await read_counter(suite, "prebook_fare_enrichments_total", "pricing", outcome="enriched") == 3

    await control.wait_until_all_running(WAIT_S)
    assert await confirmed_cents(rider, "rosa") == gold


def test_a_malformed_profile_is_refused_with_a_remedy(suite: Suite) -> None:
    done = suite.prebook("profile", "set", "rosa", "--tier", "gold", "--home-zone", "somewhere")
    assert done.returncode == 1
    assert "hint:" in done.stderr
