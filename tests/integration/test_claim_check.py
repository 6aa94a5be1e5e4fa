"""Routes of rides on the real suite: the message carries a claim check, and the receiver reads the body."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from prebook.rabbit.archive_reader import read_archive
from tests.conditions import poll_until
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe
from tests.integration.internal_client import open_internal_client
from tests.integration.logs import find_lines
from tests.integration.metrics import read_message_counter
from tests.integration.rider_client import RiderClient
from tests.integration.suite import Suite
from tests.integration.test_parking import run_parking, wait_for_dead_letters

pytestmark = pytest.mark.real
TIMEOUT_S = 90.0
LARGE = 8_000
SMALL = 20
THRESHOLD_BYTES = 16 * 1024
DELETE_BODY = "DELETE FROM booking.checked_body WHERE message_id = $1"
REFUSE = """
    CREATE FUNCTION fleets.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'this route always fails'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON fleets.route FOR EACH ROW EXECUTE FUNCTION fleets.refuse()"""
ALTER_BODY = "UPDATE booking.checked_body SET body = overlay(body PLACING '7' FROM 30) WHERE message_id = $1"


def line(points: int, shift: float = 0.0) -> dict[str, Any]:
    """Return a route of the sample ride with so many points."""
    step = 0.09 / (points - 1)
    return {
        "type": "LineString",
        "coordinates": [[round(13.4 + shift, 6), round(52.5 + number * step, 9)] for number in range(points)],
    }


async def put_route(rider: RiderClient, booking_id: str, geometry: dict[str, Any]) -> httpx.Response:
    return await rider.http.put(f"/v1/bookings/{booking_id}/route", json=geometry)


async def wait_for_route(database: DatabaseProbe, booking_id: str, revision: int = 1) -> str:
    """Wait until fleets has this revision of the route, and return its geometry."""

    async def has_route() -> bool:
        found = await database.fetch_value("SELECT revision FROM fleets.route WHERE booking_id = $1", booking_id)
        return bool(found == revision)

    await poll_until(has_route, TIMEOUT_S)
    return str(await database.fetch_value("SELECT geometry FROM fleets.route WHERE booking_id = $1", booking_id))


async def wait_until_sent(database: DatabaseProbe, booking_id: str) -> None:
    sql = "SELECT count(*) FROM booking.outbox WHERE conversation_id = $1 AND flow = 'route_planned' AND state = 'sent'"

    async def is_sent() -> bool:
        return bool(await database.fetch_value(sql, booking_id))

    await poll_until(is_sent, TIMEOUT_S)


async def test_a_large_route_reaches_the_fleets_by_a_claim_check(
    suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    booking_id = await rider.prebook()
    response = await put_route(rider, booking_id, line(LARGE))
    assert (response.status_code, response.json()) == (
        201,
        {"booking_id": booking_id, "revision": 1, "points": LARGE},
    ), response.text
    assert await wait_for_route(database, booking_id)
    assert (await rider.http.get(f"/v1/bookings/{booking_id}/route")).json()["geometry"] == line(LARGE)

    sent = {m.id: m async for m in read_archive(suite.state.amqp_url)}[f"{booking_id}.route_planned.1"]
    assert sent.wire.body == b""
    row = await database.connection.fetchrow(
        "SELECT id, octet_length(body) AS bytes, read_at FROM booking.checked_body WHERE message_id = $1", sent.id
    )
    assert row is not None
    assert sent.wire.headers["ce-dataref"] == f"/checked-bodies/{row['id']}"
    assert int(sent.wire.headers["prebook-body-bytes"]) == row["bytes"] > THRESHOLD_BYTES
    assert row["read_at"] is not None


@asynccontextmanager
async def broken_fleets(database: DatabaseProbe) -> AsyncIterator[None]:
    """Let fleets fail at every route while the block runs: a trigger refuses its writes."""
    await database.connection.execute(REFUSE)
    try:
        yield
    finally:
        await database.connection.execute("DROP FUNCTION fleets.refuse CASCADE")


async def plan_large_route(rider: RiderClient) -> str:
    booking_id = await rider.prebook()
    response = await put_route(rider, booking_id, line(LARGE))
    assert response.status_code == 201, response.text
    return booking_id


@pytest.fixture
async def delete_dead_letters(database: DatabaseProbe) -> AsyncIterator[None]:
    """Delete all dead letters after the test."""
    yield
    await database.connection.execute("DELETE FROM operations.dead_letter")


@pytest.mark.usefixtures("delete_dead_letters")
async def test_a_parked_message_is_replayed_with_its_body_and_parked_again_with_the_cause_if_that_is_gone(
    suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    async with broken_fleets(database):
        kept, missing, altered = [await plan_large_route(rider) for _ in range(3)]
        parked = await wait_for_dead_letters(suite, 3, cause="attempts_exhausted")
    assert {each["payload_bytes"] for each in parked} == {0}, "a dead letter has the claim check, and not the body"
    assert {each["queue"] for each in parked} == {"fleets.events"}
    await database.connection.execute(DELETE_BODY, f"{missing}.route_planned.1")
    await database.connection.execute(ALTER_BODY, f"{altered}.route_planned.1")

    options = ("--cause", "attempts_exhausted", "--apply", "--wait", "--keep-going")
    replayed = await run_parking(suite, "replay", *options, status=1)
    assert replayed["counts"] == {"resolved": 1, "failed_again": 2}
    assert await wait_for_route(database, kept)
    causes = {
        row["conversation_id"]: (row["cause"], row["attempts"])
        for row in await database.connection.fetch(
            "SELECT conversation_id, cause, attempts FROM operations.dead_letter WHERE state = 'parked'"
        )
    }
    assert causes == {missing: ("claim_missing", 1), altered: ("claim_corrupted", 1)}, "no retry can help"


async def test_a_claim_store_that_is_away_is_an_outage_that_costs_no_attempt(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, control: ControlClient
) -> None:
    await control.kill("fleets", down_s=10.0)
    booking_id = await plan_large_route(rider)
    await wait_until_sent(database, booking_id)
    await control.kill("booking", down_s=30.0)

    async def is_waiting_for_store() -> bool:
        lines = await asyncio.to_thread(find_lines, suite, "fleets", message_id=f"{booking_id}.route_planned.1")
        return any("claim store" in str(each.get("error")) for each in lines)

    await poll_until(is_waiting_for_store, TIMEOUT_S)
    assert await wait_for_route(database, booking_id)
    await control.wait_until_all_running()
    assert await read_message_counter(suite, "retried", "fleets") == 0, "since its start"
    assert await database.fetch_value("SELECT count(*) FROM operations.dead_letter") == 0


async def test_only_a_receiver_of_its_message_reads_a_body(
    suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    booking_id = await plan_large_route(rider)
    await wait_for_route(database, booking_id)
    reference = await database.fetch_value(
        "SELECT id FROM booking.checked_body WHERE message_id = $1", f"{booking_id}.route_planned.1"
    )
    statuses = {}
    for caller in ("fleets", "pricing", "notification", "operations", "console"):
        async with open_internal_client(suite, "booking", caller) as http:
            response = await http.get(f"/checked-bodies/{reference}")
            statuses[caller] = response.status_code
    assert statuses == {"fleets": 200, "pricing": 403, "notification": 403, "operations": 403, "console": 403}
    assert (await rider.http.get(f"/checked-bodies/{reference}")).status_code == 404
