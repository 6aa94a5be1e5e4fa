"""A handler that always fails: tried as often as configured, at the configured pauses, then parked."""

from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise

import pytest

from prebook.contracts.plan import Coupling
from prebook.messaging import addresses
from prebook.patterns.retry import jittered_delays_s
from tests.integration import logs
from tests.integration.broker_probe import BrokerProbe
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.metrics import read_message_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import POLICIES, Suite

pytestmark = pytest.mark.real
POLICY = POLICIES["quote_fare"]
WAYS = {
    Coupling.ONE_WAY: (addresses.EVENTS, "request.quote_fare", "pricing.one_way_requests.quote_fare"),
    Coupling.REQUEST_REPLY: (addresses.REQUESTS, "quote_fare", "pricing.requests.quote_fare"),
}


@pytest.fixture
async def unable_to_price(database: DatabaseProbe) -> AsyncIterator[None]:
    """Pricing may read its tables and not write the one that every quote needs."""
    await database.connection.execute("REVOKE INSERT ON pricing.discount_grant FROM prebook_pricing")
    yield
    await database.connection.execute("GRANT INSERT ON pricing.discount_grant TO prebook_pricing")


@pytest.mark.usefixtures("unable_to_price")
async def test_it_is_parked_after_as_many_attempts_as_configured(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    before = {way: await _failed(suite, way) for way in WAYS}
    ids = {way: await rider.prebook(uniform_plan(way)) for way in WAYS}
    parked = {message.conversation_id: message for message in await broker.collect_parked(len(WAYS))}
    for way, (exchange, key, queue) in WAYS.items():
        message = parked[ids[way]]
        assert message.routing_key == queue
        told = message.headers
        assert (told["prebook-x-exchange"], told["prebook-x-routing-key"]) == (exchange, key)
        assert told["prebook-x-cause"] == "attempts_exhausted"
        assert "permission denied" in told["prebook-x-error"]
        assert told["prebook-attempt"] == str(POLICY.max_attempts)
        assert await _failed(suite, way) - before[way] == POLICY.max_attempts
        _as_configured(suite, told["ce-id"])
    assert all_in_state(await database.verify_bookings(list(ids.values())), "expired"), (
        "the deadline answers in pricing's place"
    )


@pytest.mark.usefixtures("unable_to_price")
async def test_who_waits_for_it_is_told_that_it_failed(rider: RiderClient, database: DatabaseProbe) -> None:
    response = await rider.post_booking(uniform_plan(Coupling.SYNC_API))
    assert (response.status_code, response.json()["state"]) == (201, "failed")
    assert all_in_state(await database.verify_bookings([response.json()["id"]]), "failed")


async def _failed(suite: Suite, coupling: Coupling) -> float:
    return await read_message_counter(suite, "handling_failed", "pricing", flow="quote_fare", coupling=coupling.value)


def _as_configured(suite: Suite, message_id: str) -> None:
    failures = logs.find_lines(suite, "pricing", event="message handling failed", message_id=message_id)
    assert [line["attempt"] for line in failures] == list(range(1, POLICY.max_attempts + 1))
    retries = logs.find_lines(suite, "pricing", event="message retry scheduled", message_id=message_id)
    pauses = [line["delay_s"] for line in retries]
    assert all(took in jittered_delays_s(pause) for took, pause in zip(pauses, POLICY.backoff_s, strict=True)), pauses
    times = [datetime.fromisoformat(line["timestamp"]) for line in failures]
    waited = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert all(took >= pause for took, pause in zip(waited, pauses, strict=True)), (waited, pauses)
