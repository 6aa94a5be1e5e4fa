"""Trips on the real suite: in every coupling, and a thousand of them while processes are killed."""

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.lab.experiments.result import ExperimentResult
from prebook.lab.experiments.trips.registration import TRIPS
from tests.conditions import poll_until
from tests.conftest import Figure
from tests.integration.database_probe import DatabaseProbe
from tests.integration.metrics import read_counter
from tests.integration.rider_client import RiderClient, encode_plan, uniform_plan
from tests.integration.suite import PREBOOK, Suite, run_command
from tests.world import leg_of, ride

TIMEOUT_S = 1_500.0
TOO_SHORT = {"dropoff": {"lat": 52.5001, "lon": 13.4}}
pytestmark = pytest.mark.real


async def post_trip(rider: RiderClient, key: str, coupling: Coupling, *changes: dict[str, Any]) -> httpx.Response:
    legs = [leg_of(ride(**each)) for each in changes]
    body = {"rider_id": "rosa", "legs": legs, "couplings": encode_plan(uniform_plan(coupling)), "policy": "partial"}
    return await rider.http.post("/v1/trips", json=body, headers={"Idempotency-Key": key})


async def test_a_trip_is_settled_in_every_coupling_and_stands_in_the_ledger(
    suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    before = await read_counter(suite, "prebook_trips_completed_total", "booking", by="all_legs")
    responses = [await post_trip(rider, f"trip-{coupling}", coupling, {}, TOO_SHORT, {}) for coupling in Coupling]
    assert [response.status_code for response in responses] == [202] * 4, [each.text for each in responses]
    locations = [response.headers["location"] for response in responses]

    async def read_trips() -> list[dict[str, Any]]:
        return [(await rider.http.get(location)).json() for location in locations]

    async def are_notified() -> bool:
        return all(trip["notified_at"] for trip in await read_trips())

    await poll_until(are_notified, 60.0)
    trips = await read_trips()
    assert Counter((trip["state"], trip["completed_by"]) for trip in trips) == {("partly_confirmed", "all_legs"): 4}
    assert [[leg["state"] for leg in trip["legs"]] for trip in trips] == [["confirmed", "rejected", "confirmed"]] * 4
    ids = [trip["id"] for trip in trips]
    await database.wait_until_nothing_pending([*ids, *(leg["id"] for trip in trips for leg in trip["legs"])])
    assert await database.fetch_value("SELECT count(*) FROM notification.delivery WHERE booking_id = ANY($1)", ids) == 4
    ledger = json.loads(suite.prebook("ledger", "--prefix", "trip-", "--json").stdout)
    assert ledger["trips"] == [
        {"policy": "partial", "state": "partly_confirmed", "completed_by": "all_legs", "trips": 4}
    ]
    assert (ledger["bookings"], ledger["notified"], ledger["duplicated"]) == (0, 4, 0)
    assert await read_counter(suite, "prebook_trips_completed_total", "booking", by="all_legs") == before + 4

    cancelled = await asyncio.gather(*(rider.http.delete(location) for location in locations))
    assert {(response.status_code, response.json()["state"]) for response in cancelled} == {(200, "cancelled")}
    legs = [leg["id"] for trip in trips for leg in trip["legs"]]
    await database.wait_until_nothing_pending([*ids, *legs])
    assert await database.fetch_value("SELECT count(*) FROM matching.assignment WHERE booking_id = ANY($1)", legs) == 0


@pytest.mark.long
@pytest.mark.timeout(TIMEOUT_S + 60)
def test_a_thousand_trips_are_completed_once_while_processes_are_killed(tmp_path: Path, figure: Figure) -> None:
    env = {**os.environ, "PREBOOK_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = run_command(
        [*PREBOOK, "lab", "run", TRIPS.name, "--json", "--report", str(tmp_path)], env, timeout_s=TIMEOUT_S
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    result = msgspec.json.decode(done.stdout, type=ExperimentResult)
    figure(f"{result.size['trips']} trips, {result.size['kills']} kills: {result.seconds:g} s")
    assert result.problems == ()
    assert result.details["completed_in_memory"] > 0, (
        "the wrong way works, except for the groups that the kill orphaned"
    )
    assert {row[-1] for row in result.tables[0].rows} == {result.details["state_hash"][:12]}
