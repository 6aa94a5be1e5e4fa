"""Break a consumer, repair it, and replay its dead letters: the final state equals that of a run without the fault."""

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
from tests.integration.broken_pricing import broken_pricing
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.metrics import read_message_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import POLICIES, Suite
from tests.integration.test_parking import run_parking, wait_for_dead_letters

pytestmark = pytest.mark.real
EXTEND_DEADLINES = (
    "UPDATE booking.pending_reply SET due_at = now() + interval '10 minutes' WHERE conversation_id = ANY($1)"
)
PLANS: Sequence[Plan] = (
    uniform_plan(Coupling.ONE_WAY),
    uniform_plan(Coupling.REQUEST_REPLY),
    {**uniform_plan(Coupling.SYNC_API), "quote_fare": Coupling.REQUEST_REPLY},
    {**uniform_plan(Coupling.ASYNC_API), "quote_fare": Coupling.ONE_WAY},
)
"""Plans in which fares are requested by message. A synchronous call would fail at once and leave no dead letter."""
RIDES: Sequence[dict[str, Any]] = tuple(
    {
        "dropoff": {"lat": 52.55 + number * 0.004, "lon": 13.4},
        "vehicle_class": ("standard", "comfort", "xl")[number % 3],
        "passengers": 1 + number % 4,
    }
    for number in range(12)
)
OUTCOMES = "SELECT id, state, fare_cents FROM booking.booking WHERE id = ANY($1)"
SERVICES_WITH_STATE = ("booking", "pricing", "matching", "notification", "fleets")


@pytest.fixture
async def delete_dead_letters(database: DatabaseProbe) -> AsyncIterator[None]:
    """Delete all dead letters after the test."""
    yield
    await database.connection.execute("DELETE FROM operations.dead_letter")


@pytest.mark.usefixtures("delete_dead_letters")
async def test_a_replay_after_a_repair_gives_the_state_of_an_undisturbed_run_and_a_second_replay_has_no_effect(
    suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    undisturbed = await _book_rides(rider)
    assert all_in_state(await database.verify_bookings(undisturbed), "confirmed")

    began = datetime.now(UTC)
    async with broken_pricing(database):
        disturbed = await _book_rides(rider)
        await database.connection.execute(EXTEND_DEADLINES, disturbed)
        dead_letters = await wait_for_dead_letters(suite, len(disturbed), cause="attempts_exhausted")
    assert {line["attempts"] for line in dead_letters} == {POLICIES["quote_fare"].max_attempts}
    assert set((await database.read_states(disturbed)).values()) == {"requested"}, (
        "no booking makes progress while pricing is broken"
    )

    replay = await run_parking(suite, "replay", "--cause", "attempts_exhausted", "--apply", "--wait")
    assert (replay["counts"], replay["duplicates"]) == ({"resolved": len(disturbed)}, 0)
    assert all_in_state(await database.verify_bookings(disturbed), "confirmed")
    assert await _hash_outcomes(database, disturbed) == await _hash_outcomes(database, undisturbed)

    await _replay_again(suite, database, [line["id"] for line in dead_letters], began)
    assert await _hash_outcomes(database, disturbed) == await _hash_outcomes(database, undisturbed)


async def _replay_again(suite: Suite, database: DatabaseProbe, ids: Sequence[int], began: datetime) -> None:
    """Replay the resolved dead letters by force, and the archive to pricing: neither adds a row in any service."""
    rows = await _count_rows(database)
    handled = await read_message_counter(suite, "handled", "pricing")
    forced = ("parking", "replay", *map(str, ids), "--apply", "--force")
    refused = await asyncio.to_thread(suite.prebook, *forced)
    assert refused.returncode == 1
    assert "resolved already" in refused.stderr

    duplicates = await read_message_counter(suite, "duplicate", "pricing")
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
    assert report["sent"] == report["duplicates"] >= len(ids) // 2, (
        "the archive holds the fare requests that were published as events"
    )
    assert report["new_effects"] == 0

    async def all_ignored() -> bool:
        return await read_message_counter(suite, "duplicate", "pricing") == duplicates + float(report["sent"])

    await poll_until(all_ignored)
    assert await _count_rows(database) == rows
    assert await read_message_counter(suite, "handled", "pricing") == handled


async def _book_rides(rider: RiderClient) -> list[str]:
    """Book RIDES and return the ids in the same order."""
    plans = islice(cycle(PLANS), len(RIDES))
    return await asyncio.gather(*(rider.prebook(plan, **ride) for plan, ride in zip(plans, RIDES, strict=True)))


async def _hash_outcomes(database: DatabaseProbe, ids: Collection[str]) -> str:
    """Return a hash of (ride, state, fare) of all rides, which is equal for two runs with equal outcomes."""
    outcomes = {
        row["id"]: (row["state"], row["fare_cents"]) for row in await database.connection.fetch(OUTCOMES, list(ids))
    }
    numbered = [(number, *outcomes[booking_id]) for number, booking_id in enumerate(ids)]
    return hashlib.sha256(json.dumps(numbered).encode()).hexdigest()


async def _count_rows(database: DatabaseProbe) -> dict[str, int]:
    return {
        table: rows
        for table, rows in (await database.count_rows()).items()
        if table.partition(".")[0] in SERVICES_WITH_STATE
    }
