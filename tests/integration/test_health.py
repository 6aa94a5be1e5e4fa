"""Health endpoints and metrics of every service."""

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from prebook.flows import SERVICES
from tests.integration.database_probe import DatabaseProbe
from tests.integration.rider_client import RiderClient
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
MESSAGE_COUNTERS = (
    "sent",
    "send_failed",
    "handled",
    "handling_failed",
    "duplicate",
    "expired",
    "retried",
    "dead_lettered",
)
FAMILIES = {
    *(f"prebook_messages_{name}" for name in MESSAGE_COUNTERS),
    *("prebook_send_seconds", "prebook_handle_seconds", "prebook_event_loop_lag_seconds"),
    *("prebook_outbox_waiting", "prebook_outbox_oldest_age_seconds", "prebook_outbox_abandoned"),
    *(
        "prebook_consumer_circuit_open",
        "prebook_consumer_paused_messages",
        "prebook_db_pool_timeouts",
        "prebook_gauges_stale",
        "prebook_http_client_requests",
        "prebook_http_refused",
        "prebook_provider_circuit_open",
    ),
}


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_is_alive_and_ready_and_exports_its_metrics(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, service: str
) -> None:
    await database.verify_bookings([await rider.prebook()])
    paths = ("/livez", "/readyz", "/metrics")
    for url in (suite.state.urls[service], suite.state.internal_urls[service]):
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            alive, ready, page = await asyncio.gather(*(http.get(path) for path in paths))
        assert alive.json() == {"status": "alive", "service": service}
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "service": service, "missing": {}})
        assert page.status_code == (200 if url == suite.state.internal_urls[service] else 404)
    families: dict[str, Any] = {f.name: f.samples for f in text_string_to_metric_families(page.text)}
    assert families.keys() >= FAMILIES
    handled = [s for s in families["prebook_messages_handled"] if s.name.endswith("_total") and s.value > 0]
    assert handled
    assert all(s.labels.keys() == {"flow", "coupling", "kind"} for s in handled)
