"""From a message that cannot be handled to its one effect, on a real suite and by the command line."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import OPERATIONS
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from tests.conditions import poll_until
from tests.integration import logs
from tests.integration.broker_probe import BrokerProbe
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite
from tests.integration.test_messages import VALID_BODY, VALID_HEADERS

pytestmark = pytest.mark.real


@pytest.fixture
async def emptied(database: DatabaseProbe) -> AsyncIterator[None]:
    """Nothing is left at operations for the tests that come after."""
    yield
    await database.connection.execute("DELETE FROM operations.dead_letter")


async def said(suite: Suite, *arguments: str, status: int = 0) -> Any:
    """What `prebook parking ... --json` prints."""
    done = await asyncio.to_thread(suite.prebook, "parking", *arguments, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


async def parked(suite: Suite, count: int, **query: str) -> list[dict[str, Any]]:
    """Lines, as soon as there are so many."""
    found: list[dict[str, Any]] = []

    async def enough() -> bool:
        found[:] = (await operations.get("/v1/dead-letters", params={**query, "limit": 1000})).json()["dead_letters"]
        return len(found) == count

    async with httpx.AsyncClient(base_url=suite.state.urls[OPERATIONS], trust_env=False) as operations:
        await poll_until(enough, 20)
    return found


@pytest.mark.usefixtures("emptied")
async def test_a_malformed_message_is_shown_mended_replayed_and_resolved(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, tmp_path: Path
) -> None:
    booking_id = await rider.prebook(uniform_plan(Coupling.REQUEST_REPLY))
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")
    message_id = f"{booking_id}.quote_fare.once-more"
    headers = {**VALID_HEADERS, "ce-id": message_id, "ce-subject": booking_id}
    await broker.send(addresses.REQUESTS, "quote_fare", WireMessage(headers, b'{"pickup": 1}'))
    (line,) = await parked(suite, 1, message_id=message_id)
    assert line["cause"] == "wrong_schema"
    before = await database.count_rows()

    (group,) = (await said(suite, "failure-groups"))["groups"]
    assert (group["failure_group"], group["messages"], group["queue"]) == (
        line["failure_group"],
        1,
        "pricing.requests.quote_fare",
    )
    shown = await said(suite, "show", str(line["id"]))
    assert (shown["payload"]["text"], shown["headers"]["prebook-x-routing-key"]) == ('{"pickup": 1}', "quote_fare")
    assert (await said(suite, "list", "--queue", group["queue"]))["dead_letters"] == [line]
    planned = await said(suite, "replay", "--failure-group", group["failure_group"])
    assert (planned["state"], planned["messages"], planned["batches"]) == ("dry_run", 1, [1])
    assert await database.count_rows() == before, "looking and planning leave nothing behind"

    again = await said(suite, "replay", str(line["id"]), "--apply", "--wait", status=1)
    assert (again["state"], again["counts"]) == ("stopped", {"failed_again": 1}), "nothing has changed yet"
    mended = tmp_path / "mended.json"
    mended.write_bytes(VALID_BODY)
    await said(suite, "note", str(line["id"]), "the pick-up was a number")
    await said(suite, "edit", str(line["id"]), "--reason", "say where", "--payload-file", str(mended))
    done = await said(suite, "replay", str(line["id"]), "--apply", "--wait")
    assert (done["state"], done["counts"], done["duplicates"]) == ("done", {"resolved": 1}, 0)
    assert await database.fetch_value("SELECT count(*) FROM pricing.inbox WHERE message_id = $1", message_id) == 1
    shown = await said(suite, "show", str(line["id"]))
    assert (shown["summary"]["state"], shown["summary"]["times_parked"], len(shown["notes"])) == ("resolved", 2, 1)
    assert shown["payload"]["text"] == '{"pickup": 1}', "as it came"
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")


@pytest.mark.usefixtures("emptied")
async def test_what_the_broker_dead_letters_by_itself_is_told_with_its_first_address(
    suite: Suite, broker: BrokerProbe
) -> None:
    """As after a consumer's crashes: no service has written down a cause."""
    headers = {**VALID_HEADERS, "ce-id": "made-up.by-the-broker"}
    await broker.dead_letter(
        addresses.EVENTS, "request.dead_letter", "pricing.requests.quote_fare", WireMessage(headers, VALID_BODY)
    )
    (line,) = await parked(suite, 1, message_id="made-up.by-the-broker")
    assert (line["cause"], line["queue"]) == ("dead_lettered", "pricing.requests.quote_fare")
    assert "expired" in line["error"]
    assert (line["exchange"], line["routing_key"]) == (addresses.EVENTS, "request.dead_letter")
    await broker.collect_parked(1)


@pytest.mark.usefixtures("emptied")
async def test_what_is_parked_while_the_database_refuses_operations_is_taken_in_later(
    suite: Suite, database: DatabaseProbe, broker: BrokerProbe, operations: httpx.AsyncClient
) -> None:
    await database.connection.execute("REVOKE INSERT ON operations.dead_letter FROM prebook_operations")
    try:
        for number in range(30):
            await broker.send(
                addresses.REQUESTS, "quote_fare", WireMessage({**VALID_HEADERS, "ce-id": f"late-{number}"}, b"{")
            )
        tries = partial(logs.find_lines, suite, OPERATIONS, event="dead letter not stored")
        await poll_until(_async(lambda: bool(tries())), 20)
    finally:
        await database.connection.execute("GRANT INSERT ON operations.dead_letter TO prebook_operations")
    lines = await parked(suite, 30, cause="bad_json")
    assert {line["message_id"] for line in lines} == {f"late-{number}" for number in range(30)}
    assert {line["times_parked"] for line in lines} == {1}
    assert (await operations.get("/readyz")).status_code == 200
    await broker.collect_parked(30)


def _async(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return condition()

    return asked
