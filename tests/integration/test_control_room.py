"""The control room of a running suite: its access, and its figures, which are those of the ledger."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import SETTLED_STATES
from prebook.flows import FLOWS
from prebook.messaging.clock import utc_now
from tests.control_room.test_feed import apply
from tests.control_room.test_routes import read_events
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
SETTLE_TIMEOUT_S = 60.0


def new_url(suite: Suite) -> str:
    """Return a URL that `prebook url` prints."""
    command = suite.prebook("url", "--json")
    assert command.returncode == 0, command.stderr
    url: str = msgspec.json.decode(command.stdout)["url"]
    return url


@asynccontextmanager
async def open_browser(suite: Suite) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client with a session, which sends the page's own origin."""
    base = suite.state.page_url
    async with httpx.AsyncClient(base_url=base, headers={"origin": base}, trust_env=False, timeout=30.0) as browser:
        assert (await browser.get(new_url(suite), follow_redirects=True)).status_code == 200
        yield browser


def test_prebook_url_opens_the_page_once_on_this_machine(suite: Suite) -> None:
    url = new_url(suite)
    assert url.startswith(f"{suite.state.page_url}/?token=")
    assert suite.state.page_url.startswith("http://127.0.0.1:")
    page = httpx.get(url, follow_redirects=True, trust_env=False)
    assert page.status_code == 200
    assert "Prebook control room" in page.text
    assert httpx.get(url, follow_redirects=True, trust_env=False).status_code == 401


async def test_the_figures_of_rides_booked_by_hand_are_those_of_the_ledger(suite: Suite) -> None:
    async with open_browser(suite) as browser:
        for coupling in Coupling:
            response = await browser.post("/v1/rides", json=ride(coupling))
            assert response.status_code in {201, 202}, response.text
        events: list[bytes] = []
        async with browser.stream("GET", "/v1/live") as stream, asyncio.timeout(SETTLE_TIMEOUT_S):
            async for event in read_events(stream):
                events.append(event)
                state = apply(events)
                if is_at_rest(state):
                    break
    counted = msgspec.json.decode(suite.prebook("ledger", "--json").stdout)
    assert set(state["sources"].values()) == {""}
    assert in_stream(state) == Counter({(row["plan"], row["state"]): row["bookings"] for row in counted["rows"]})
    for coupling in Coupling:
        clocks = state["clocks"][coupling.value]
        assert 0 < clocks["accepted"]["p50_ms"] <= clocks["accepted"]["p99_ms"]
        assert 0 < clocks["settled"]["p50_ms"] <= clocks["settled"]["p99_ms"]
    assert {process["state"] for process in state["processes"].values()} == {"up"}


def ride(coupling: Coupling) -> dict[str, Any]:
    return {
        "rider_id": "control-room-test",
        "pickup": {"lat": 52.5, "lon": 13.4},
        "dropoff": {"lat": 52.55, "lon": 13.4},
        "pickup_at": (utc_now() + timedelta(days=3)).isoformat(),
        "vehicle_class": "standard",
        "passengers": 1,
        "couplings": dict.fromkeys(FLOWS, coupling.value),
    }


def in_stream(state: dict[str, Any]) -> Counter[tuple[str, str]]:
    return Counter({(plan, name): n for plan, states in state["ledger"].items() for name, n in states.items()})


def is_at_rest(state: dict[str, Any]) -> bool:
    """Return whether all sources have answered, every booking is settled, and its messages are counted."""
    if not {"ledger", "messages", "queues", "clocks"} <= state.keys():
        return False
    plans = {plan for plan, _ in in_stream(state)}
    settled = {name for _, name in in_stream(state)} <= {each.value for each in SETTLED_STATES}
    has_clocks = all(state["clocks"].get(each.value, {}).get("settled", {}).get("count") for each in Coupling)
    # Metrics are read apart from the ledger, and the broker's statistics are up to five seconds old.
    handled = state["messages"].get("quote_fare/request_reply/request", {}).get("handled", 0)
    consumers = state["queues"]["pricing.requests.quote_fare"]["consumers"]
    return settled and has_clocks and handled >= 1 <= consumers and plans >= {coupling.value for coupling in Coupling}
