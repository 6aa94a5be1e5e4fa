"""Logs of the services after all other tests: structured, correlated, and without personal data of riders."""

import pytest

from prebook.flows import SERVICES
from tests.integration import logs
from tests.integration.database_probe import DatabaseProbe
from tests.integration.rider_client import RiderClient
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
CANARY = "canary-rider-7f3a"


@pytest.mark.parametrize("service", SERVICES)
async def test_every_line_is_json_and_names_its_service_and_message(suite: Suite, service: str) -> None:
    assert logs.message_lines(suite, service)


async def test_the_hops_of_one_ride_share_a_trace(suite: Suite, rider: RiderClient, database: DatabaseProbe) -> None:
    booking_id = await rider.prebook()
    await database.verify_bookings([booking_id])
    traces = {line["trace_id"] for s in SERVICES for line in logs.find_lines(suite, s, conversation_id=booking_id)}
    assert len(traces) == 1


async def test_no_personal_data_and_no_secret_is_logged(
    suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    accepted = [
        await rider.prebook(rider_id=CANARY),
        await rider.prebook(rider_id=CANARY, dropoff={"lat": 0, "lon": 0}),
    ]
    refused = await rider.post_booking(rider_id=CANARY, passengers=9)
    assert refused.status_code == 422
    await database.verify_bookings(accepted)
    await rider.cancel(accepted[0])
    await database.verify_bookings(accepted)
    text = await database.fetch_value("SELECT text FROM notification.delivery WHERE rider_id = $1 LIMIT 1", CANARY)
    log_text = logs.read_all(suite)
    assert accepted[0] in log_text, "the ride is logged"
    assert CANARY not in log_text
    assert text not in log_text
    assert not logs.find_secrets(suite)
