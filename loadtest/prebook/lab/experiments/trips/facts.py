"""Facts about trips, read from the private tables of the services."""

from collections import Counter
from collections.abc import Sequence

import asyncpg

from prebook.contracts.ride import BookingState
from prebook.contracts.trip import TripCompletion, TripPolicy, TripState
from prebook.lab.experiments.trips.laws import TripFacts

SELECT_TRIPS = """
    SELECT id, key, state, policy, completed_by,
        ARRAY(SELECT change ->> 'state' FROM jsonb_array_elements(history) WITH ORDINALITY AS h (change, n)
            ORDER BY n) AS history,
        (SELECT count(*) FROM jsonb_object_keys(results)) AS results
    FROM booking.trip WHERE starts_with(key, $1)"""
SELECT_LEGS = "SELECT id, trip_id, state FROM booking.booking WHERE trip_id = ANY($1) ORDER BY trip_id, leg"
SELECT_NOTICES = (
    "SELECT booking_id, count(*) AS notices FROM notification.delivery WHERE booking_id = ANY($1) GROUP BY 1"
)
SELECT_DRIVERS = "SELECT booking_id, count(*) AS drivers FROM matching.assignment WHERE booking_id = ANY($1) GROUP BY 1"


async def read_trips(database: asyncpg.Connection, prefix: str) -> list[TripFacts]:
    """Return the facts about all trips whose key starts with ``prefix``; their keys are given without it."""
    rows = await database.fetch(SELECT_TRIPS, prefix)
    legs = await database.fetch(SELECT_LEGS, [row["id"] for row in rows])
    ids = [row["id"] for row in (*rows, *legs)]
    notices = Counter({row["booking_id"]: row["notices"] for row in await database.fetch(SELECT_NOTICES, ids)})
    drivers = Counter({row["booking_id"]: row["drivers"] for row in await database.fetch(SELECT_DRIVERS, ids)})
    legs_of: dict[str, list[asyncpg.Record]] = {row["id"]: [] for row in rows}
    for leg in legs:
        legs_of[leg["trip_id"]].append(leg)
    return [_facts(row, legs_of[row["id"]], prefix, notices, drivers) for row in rows]


async def list_conversations(database: asyncpg.Connection, prefix: str) -> list[str]:
    """Return the ids of the trips whose key starts with ``prefix``, and of their legs."""
    trips = [row["id"] for row in await database.fetch(SELECT_TRIPS, prefix)]
    return trips + [row["id"] for row in await database.fetch(SELECT_LEGS, trips)]


async def list_trip_keys(database: asyncpg.Connection, prefix: str) -> dict[str, str]:
    """Return the key, without ``prefix``, of each trip id."""
    return {row["id"]: row["key"].removeprefix(prefix) for row in await database.fetch(SELECT_TRIPS, prefix)}


def _facts(
    row: asyncpg.Record,
    legs: Sequence[asyncpg.Record],
    prefix: str,
    notices: Counter[str],
    drivers: Counter[str],
) -> TripFacts:
    return TripFacts(
        key=row["key"].removeprefix(prefix),
        state=TripState(row["state"]),
        policy=TripPolicy(row["policy"]),
        completed_by=TripCompletion(row["completed_by"]) if row["completed_by"] else None,
        history=tuple(TripState(state) for state in row["history"]),
        results=row["results"],
        legs=tuple(BookingState(leg["state"]) for leg in legs),
        notices=notices[row["id"]],
        leg_notices=sum(notices[leg["id"]] for leg in legs),
        wrong_drivers=sum(drivers[leg["id"]] for leg in legs if leg["state"] != BookingState.CONFIRMED),
    )
