"""A consumer is broken for a window, mended, and what it could not handle is replayed: as if nothing had been."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any

import pytest

from prebook.contracts.plan import Coupling, Plan
from tests.conditions import poll_until
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.metrics import read_message_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import POLICIES, Suite
from tests.integration.test_parking import parked, said

pytestmark = pytest.mark.real
OUTLIVING = "UPDATE booking.pending_reply SET due_at = now() + interval '10 minutes' WHERE conversation_id = ANY($1)"
PLANS: Sequence[Plan] = (
    uniform_plan(Coupling.ONE_WAY),
    uniform_plan(Coupling.REQUEST_REPLY),
    {**uniform_plan(Coupling.SYNC_API), "quote_fare": Coupling.REQUEST_REPLY},
    {**uniform_plan(Coupling.ASYNC_API), "quote_fare": Coupling.ONE_WAY},
)
"""Fares are asked for by message in all of them: who calls is told at once that it failed."""
RIDES: Sequence[dict[str, Any]] = tuple(
    {
        "dropoff": {"lat": 52.55 + number * 0.004, "lon": 13.4},
        "vehicle_class": ("standard", "comfort", "xl")[number % 3],
        "passengers": 1 + number % 4,
    }
    for number in range(12)
)
ENDS = "SELECT id, state, fare_cents FROM booking.booking WHERE id = ANY($1)"
KEPT = ("booking", "pricing", "matching", "notification", "fleets")


@pytest.fixture
async def able_to_price(database: DatabaseProbe) -> AsyncIterator[None]:
    """Again when the test is over, and nothing is left at operations."""
    yield
    await database.connection.execute("GRANT INSERT ON pricing.discount_grant TO prebook_pricing")
    await database.connection.execute("DELETE FROM operations.dead_letter")


@pytest.mark.usefixtures("able_to_price")
async def test_the_state_is_that_of_a_run_without_the_fault_and_a_second_replay_adds_nothing(
    suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    undisturbed = await _ridden(rider)
    assert all_in_state(await database.verify_bookings(undisturbed), "confirmed")

    began = datetime.now(UTC)
    await database.connection.execute("REVOKE INSERT ON pricing.discount_grant FROM prebook_pricing")
    disturbed = await _ridden(rider)
    await database.connection.execute(OUTLIVING, disturbed)
    lines = await parked(suite, len(disturbed), cause="attempts_exhausted")
    assert {line["attempts"] for line in lines} == {POLICIES["quote_fare"].max_attempts}
    assert set((await database.read_states(disturbed)).values()) == {"requested"}, "broken: nothing has moved"

    await database.connection.execute("GRANT INSERT ON pricing.discount_grant TO prebook_pricing")
    done = await said(suite, "replay", "--cause", "attempts_exhausted", "--apply", "--wait")
    assert (done["counts"], done["duplicates"]) == ({"resolved": len(disturbed)}, 0)
    assert all_in_state(await database.verify_bookings(disturbed), "confirmed")
    assert await _hash(database, disturbed) == await _hash(database, undisturbed)

    await _replayed_once_more(suite, database, [line["id"] for line in lines], began)
    assert await _hash(database, disturbed) == await _hash(database, undisturbed)


async def _replayed_once_more(suite: Suite, database: DatabaseProbe, ids: Sequence[int], began: datetime) -> None:
    """From the parking, forced, and all that was asked of pricing from the archive: no row more in any service."""
    rows, handled = await _rows(database), await read_message_counter(suite, "handled", "pricing")
    forced = ("parking", "replay", *map(str, ids), "--apply", "--force")
    refused = await asyncio.to_thread(suite.prebook, *forced)
    assert refused.returncode == 1
    assert "resolved already" in refused.stderr

    known = await read_message_counter(suite, "duplicate", "pricing")
    archive = (
        "archive",
        "replay",
        "--from",
        began.isoformat(),
        "--to-service",
        "pricing",
        "--apply",
        "--ignore-expiry",
    )
    done = await asyncio.to_thread(suite.prebook, *archive, "--rate", "500", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["sent"] == report["duplicates"] >= len(ids) // 2, "those whose fare was asked for by an event"
    assert report["new_effects"] == 0

    async def all_heard() -> bool:
        return await read_message_counter(suite, "duplicate", "pricing") == known + float(report["sent"])

    await poll_until(all_heard)
    assert await _rows(database) == rows
    assert await read_message_counter(suite, "handled", "pricing") == handled


async def _ridden(rider: RiderClient) -> list[str]:
    """Ids of accepted bookings, in the order of RIDES."""
    plans = islice(cycle(PLANS), len(RIDES))
    return await asyncio.gather(*(rider.prebook(plan, **ride) for plan, ride in zip(plans, RIDES, strict=True)))


async def _hash(database: DatabaseProbe, ids: Collection[str]) -> str:
    """Of (ride, state, fare): what two runs of the same rides have in common, whatever their ids are."""
    found = {row["id"]: (row["state"], row["fare_cents"]) for row in await database.connection.fetch(ENDS, list(ids))}
    ends = [(number, *found[booking_id]) for number, booking_id in enumerate(ids)]
    return hashlib.sha256(json.dumps(ends).encode()).hexdigest()


async def _rows(database: DatabaseProbe) -> dict[str, int]:
    return {table: rows for table, rows in (await database.count_rows()).items() if table.partition(".")[0] in KEPT}
