"""Dead letters on a real suite and the command line: from a failed message to its single effect."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from http import HTTPStatus
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
from tests.integration.broker_probe import BrokerProbe, drain
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.internal_client import open_operations_client
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite
from tests.integration.test_messages import VALID_BODY, VALID_HEADERS

pytestmark = pytest.mark.real


@pytest.fixture
async def delete_dead_letters(database: DatabaseProbe) -> AsyncIterator[None]:
    """Delete all dead letters of operations after the test."""
    yield
    await database.connection.execute("DELETE FROM operations.dead_letter")


async def run_parking(suite: Suite, *arguments: str, status: int = 0) -> Any:
    """Run `prebook parking` with ``arguments`` and return the JSON that it prints."""
    done = await asyncio.to_thread(suite.prebook, "parking", *arguments, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


async def wait_for_dead_letters(suite: Suite, count: int, **query: str) -> list[dict[str, Any]]:
    """Wait until operations lists exactly ``count`` dead letters that match ``query``, and return them."""
    dead_letters: list[dict[str, Any]] = []

    async def is_complete() -> bool:
        dead_letters[:] = (await operations.get("/v1/dead-letters", params={**query, "limit": 1000})).json()[
            "dead_letters"
        ]
        return len(dead_letters) == count

    async with open_operations_client(suite) as operations:
        await poll_until(is_complete, 20)
    return dead_letters


@pytest.mark.usefixtures("delete_dead_letters")
async def test_a_malformed_message_is_shown_edited_replayed_and_resolved(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, tmp_path: Path
) -> None:
    booking_id = await rider.prebook(uniform_plan(Coupling.REQUEST_REPLY))
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")
    message_id = f"{booking_id}.quote_fare.once-more"
    headers = {**VALID_HEADERS, "ce-id": message_id, "ce-subject": booking_id}
    await broker.send(addresses.REQUESTS, "quote_fare", WireMessage(headers, b'{"pickup": 1}'))
    (dead_letter,) = await wait_for_dead_letters(suite, 1, message_id=message_id)
    assert dead_letter["cause"] == "wrong_schema"
    before = await database.count_rows()

    (group,) = (await run_parking(suite, "failure-groups"))["groups"]
    assert (group["failure_group"], group["messages"], group["queue"]) == (
        dead_letter["failure_group"],
        1,
        "pricing.requests.quote_fare",
    )
    shown = await run_parking(suite, "show", str(dead_letter["id"]))
    assert (shown["payload"]["text"], shown["headers"]["prebook-x-routing-key"]) == ('{"pickup": 1}', "quote_fare")
    assert (await run_parking(suite, "list", "--queue", group["queue"]))["dead_letters"] == [dead_letter]
    planned = await run_parking(suite, "replay", "--failure-group", group["failure_group"])
    assert (planned["state"], planned["messages"], planned["batches"]) == ("dry_run", 1, [1])
    assert await database.count_rows() == before, "showing and planning store nothing"

    failed = await run_parking(suite, "replay", str(dead_letter["id"]), "--apply", "--wait", status=1)
    assert (failed["state"], failed["counts"]) == ("stopped", {"failed_again": 1}), "the message is still malformed"
    payload = tmp_path / "payload.json"
    payload.write_bytes(VALID_BODY)
    await run_parking(suite, "note", str(dead_letter["id"]), "the pick-up was a number")
    await run_parking(
        suite, "edit", str(dead_letter["id"]), "--reason", "correct the pick-up", "--payload-file", str(payload)
    )
    replay = await run_parking(suite, "replay", str(dead_letter["id"]), "--apply", "--wait")
    assert (replay["state"], replay["counts"], replay["duplicates"]) == ("done", {"resolved": 1}, 0)
    assert await database.fetch_value("SELECT count(*) FROM pricing.inbox WHERE message_id = $1", message_id) == 1
    shown = await run_parking(suite, "show", str(dead_letter["id"]))
    assert (shown["summary"]["state"], shown["summary"]["times_parked"], len(shown["notes"])) == ("resolved", 2, 1)
    assert shown["payload"]["text"] == '{"pickup": 1}', "the original payload is kept"
    hops = ["pricing>parking", "operations>requests", "pricing>parking"]
    assert shown["headers"]["prebook-x-hops"] == ";".join(hops)
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")


@pytest.mark.usefixtures("delete_dead_letters")
async def test_a_message_dead_lettered_by_the_broker_has_its_first_address(suite: Suite, broker: BrokerProbe) -> None:
    """The broker dead-letters a message by itself after crashes of a consumer; no service has recorded a cause."""
    headers = {**VALID_HEADERS, "ce-id": "made-up.by-the-broker"}
    queue = "pricing.requests.quote_fare"
    wire = WireMessage(headers, VALID_BODY)
    await broker.dead_letter(addresses.EVENTS, "request.dead_letter", queue, wire, account="booking")
    (dead_letter,) = await wait_for_dead_letters(suite, 1, message_id="made-up.by-the-broker")
    assert (dead_letter["cause"], dead_letter["queue"]) == ("dead_lettered", "pricing.requests.quote_fare")
    assert "expired" in dead_letter["error"]
    assert (dead_letter["exchange"], dead_letter["routing_key"]) == (addresses.EVENTS, "request.dead_letter")
    await broker.collect_parked(1)


@pytest.mark.usefixtures("delete_dead_letters")
async def test_a_forged_message_that_the_broker_dead_letters_cannot_be_replayed(
    suite: Suite, broker: BrokerProbe
) -> None:
    """The message expires before its consumer can check it, and a replay would send it by the account of operations."""
    headers = {**VALID_HEADERS, "ce-id": "made-up.quote_fare.forged", "prebook-x-cause": "attempts_exhausted"}
    queue = "pricing.requests.quote_fare"
    wire = WireMessage(headers, VALID_BODY)
    await broker.dead_letter(addresses.EVENTS, "request.dead_letter", queue, wire, account="notification")
    (dead_letter,) = await wait_for_dead_letters(suite, 1, message_id="made-up.quote_fare.forged")
    assert dead_letter["cause"] == "forbidden_sender"
    refused = await asyncio.to_thread(suite.prebook, "parking", "replay", str(dead_letter["id"]), "--apply", "--wait")
    assert (refused.returncode, "its sender may not send such a message" in refused.stderr) == (1, True)
    await broker.collect_parked(1)


@pytest.mark.usefixtures("delete_dead_letters")
async def test_a_replay_goes_to_no_planted_address_and_a_refused_message_ends_it(
    suite: Suite, broker: BrokerProbe, operations: httpx.AsyncClient
) -> None:
    replies = await broker.tap((addresses.REPLIES, "booking.quote_fare"))
    queue = "pricing.requests.quote_fare"
    planted = {
        **VALID_HEADERS,
        "ce-id": "made-up.quote_fare.planted",
        "prebook-x-cause": "attempts_exhausted",
        "prebook-x-exchange": addresses.REPLIES,
        "prebook-x-routing-key": "booking.quote_fare",
    }
    await broker.send(addresses.PARKING, queue, WireMessage(planted, VALID_BODY))
    (dead_letter,) = await wait_for_dead_letters(suite, 1, message_id="made-up.quote_fare.planted")
    refused = await asyncio.to_thread(suite.prebook, "parking", "replay", str(dead_letter["id"]), "--apply", "--wait")
    assert (refused.returncode, "first target does not lead to the queue" in refused.stderr) == (1, True)
    assert await drain(replies) == []

    headers = {"prebook-x-exchange": None} | {f"prebook-x-note-{n}": "x" * 4000 for n in range(40)}
    edit = {"reason": "too large for a frame", "headers": headers}
    assert (await operations.post(f"/v1/dead-letters/{dead_letter['id']}/versions", json=edit)).status_code == 201
    replay = await run_parking(suite, "replay", str(dead_letter["id"]), "--apply", "--wait", status=1)
    assert (replay["state"], replay["counts"]) == ("done", {"refused": 1})
    assert "a frame holds" in replay["refused"][0]["reason"]
    await broker.collect_parked(1)


@pytest.mark.usefixtures("delete_dead_letters")
async def test_dead_letters_are_stored_after_an_outage_of_the_database_of_operations(
    suite: Suite, database: DatabaseProbe, broker: BrokerProbe, operations: httpx.AsyncClient
) -> None:
    await database.connection.execute("REVOKE INSERT ON operations.dead_letter FROM prebook_operations")
    try:
        for number in range(30):
            await broker.send(
                addresses.REQUESTS, "quote_fare", WireMessage({**VALID_HEADERS, "ce-id": f"late-{number}"}, b"{")
            )
        failures = partial(logs.find_lines, suite, OPERATIONS, event="dead letter not stored")
        await poll_until(_as_async(lambda: bool(failures())), 20)
    finally:
        await database.connection.execute("GRANT INSERT ON operations.dead_letter TO prebook_operations")
    dead_letters = await wait_for_dead_letters(suite, 30, cause="bad_json")
    assert {dead_letter["message_id"] for dead_letter in dead_letters} == {f"late-{number}" for number in range(30)}
    assert {dead_letter["times_parked"] for dead_letter in dead_letters} == {1}
    await poll_until(partial(_is_ready, operations), 60)
    await broker.collect_parked(30)


async def _is_ready(operations: httpx.AsyncClient) -> bool:
    return (await operations.get("/readyz")).status_code == HTTPStatus.OK


def _as_async(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def evaluate() -> bool:
        return condition()

    return evaluate
