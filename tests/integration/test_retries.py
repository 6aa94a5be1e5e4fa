"""A message whose handler always fails is retried with the configured number and delays, and then parked."""

from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise

import pytest

from prebook.contracts.plan import Coupling
from prebook.messaging import addresses
from prebook.patterns.retry import jittered_delays_s
from tests.integration import logs
from tests.integration.broken_pricing import broken_pricing
from tests.integration.broker_probe import BrokerProbe
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.metrics import read_message_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import POLICIES, Suite

pytestmark = pytest.mark.real
POLICY = POLICIES["quote_fare"]
ADDRESSES = {
    Coupling.ONE_WAY: (addresses.EVENTS, "request.quote_fare", "pricing.one_way_requests.quote_fare"),
    Coupling.REQUEST_REPLY: (addresses.REQUESTS, "quote_fare", "pricing.requests.quote_fare"),
}
"""Coupling -> (exchange, routing key, queue) of a fare request."""


@pytest.fixture
async def break_pricing(database: DatabaseProbe) -> AsyncIterator[None]:
    """Refuse every write to the table that every quote needs; reads still succeed."""
    async with broken_pricing(database):
        yield


@pytest.mark.usefixtures("break_pricing")
async def test_a_failing_message_is_parked_after_the_configured_attempts(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    before = {coupling: await _read_failures(suite, coupling) for coupling in ADDRESSES}
    ids = {coupling: await rider.prebook(uniform_plan(coupling)) for coupling in ADDRESSES}
    parked = {message.conversation_id: message for message in await broker.collect_parked(len(ADDRESSES))}
    for coupling, (exchange, routing_key, queue) in ADDRESSES.items():
        message = parked[ids[coupling]]
        assert message.routing_key == queue
        headers = message.headers
        assert (headers["prebook-x-exchange"], headers["prebook-x-routing-key"]) == (exchange, routing_key)
        assert headers["prebook-x-cause"] == "attempts_exhausted"
        assert "RaiseError" in headers["prebook-x-error"]
        assert headers["prebook-attempt"] == str(POLICY.max_attempts)
        assert await _read_failures(suite, coupling) - before[coupling] == POLICY.max_attempts
        _assert_attempts_as_configured(suite, headers["ce-id"])
    assert all_in_state(await database.verify_bookings(list(ids.values())), "expired"), (
        "a timeout reply takes the place of pricing's reply"
    )


@pytest.mark.usefixtures("break_pricing")
async def test_a_synchronous_ride_reports_the_failure_at_once_and_its_request_is_parked(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    response = await rider.post_booking(uniform_plan(Coupling.SYNC_API))
    assert (response.status_code, response.json()["state"]) == (201, "failed")
    booking_id = response.json()["id"]
    assert all_in_state(await database.verify_bookings([booking_id]), "failed")
    (parked,) = await broker.collect_parked(1)
    assert parked.headers["ce-id"] == f"{booking_id}.quote_fare"


async def _read_failures(suite: Suite, coupling: Coupling) -> float:
    return await read_message_counter(suite, "handling_failed", "pricing", flow="quote_fare", coupling=coupling.value)


def _assert_attempts_as_configured(suite: Suite, message_id: str) -> None:
    failures = logs.find_lines(suite, "pricing", event="message handling failed", message_id=message_id)
    assert [line["attempt"] for line in failures] == list(range(1, POLICY.max_attempts + 1))
    retries = logs.find_lines(suite, "pricing", event="message retry scheduled", message_id=message_id)
    delays_s = [line["delay_s"] for line in retries]
    assert all(
        delay_s in jittered_delays_s(backoff_s) for delay_s, backoff_s in zip(delays_s, POLICY.backoff_s, strict=True)
    ), delays_s
    times = [datetime.fromisoformat(line["timestamp"]) for line in failures]
    gaps_s = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert all(gap_s >= delay_s for gap_s, delay_s in zip(gaps_s, delays_s, strict=True)), (gaps_s, delays_s)
