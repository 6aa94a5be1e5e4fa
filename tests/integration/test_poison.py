"""One poison message of each kind among a thousand others at a real service.

`prebook lab run poison` measures its cost.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import pytest

from prebook.contracts.plan import Coupling
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from tests.conditions import poll_until
from tests.integration.broken_pricing import broken_pricing
from tests.integration.broker_probe import BrokerProbe
from tests.integration.database_probe import DatabaseProbe
from tests.integration.metrics import read_message_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import POLICIES, Suite
from tests.integration.synthetic_events import booking_ended_event
from tests.integration.test_parking import run_parking, wait_for_dead_letters

pytestmark = pytest.mark.real
MESSAGES = 1000
MAX_CONCURRENT_SENDS = 100
QUEUE = addresses.event_queue("pricing")
ATTEMPTS = next(iter(POLICIES.values())).max_attempts
"""An event belongs to no flow and has the maximum attempts of the first flow."""
POISON: Mapping[str, tuple[Mapping[str, str], bytes]] = {
    "bad_json": ({}, b'{"booking_id": '),
    "wrong_schema": ({}, b'{"booking_id": 7}'),
    "unknown_type": ({"ce-type": "prebook.booking_ended.v9"}, b"{}"),
}
EXPECTED_ATTEMPTS = {**dict.fromkeys(POISON, 1), "attempts_exhausted": ATTEMPTS}
"""Attempts by cause: one if the message can never succeed, the configured maximum if it might."""
ONE_BOOKING = "NEW.booking_id LIKE '%-always-failing'"
GRANTS = "SELECT count(*) FROM pricing.discount_grant WHERE booking_id LIKE $1"


@pytest.fixture
async def refuse_one_booking(database: DatabaseProbe) -> AsyncIterator[None]:
    """Make pricing's handler fail for one booking and for no other."""
    async with broken_pricing(database, ONE_BOOKING):
        yield


@pytest.mark.usefixtures("refuse_one_booking")
async def test_poison_is_parked_after_its_attempts_and_all_other_messages_are_handled(
    suite: Suite, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    run = uuid4().hex[:8]
    failed, retried = [await read_message_counter(suite, turn, "pricing") for turn in ("handling_failed", "retried")]
    await _send_messages(broker, run)

    async def all_handled() -> bool:
        return bool(await database.fetch_value(GRANTS, f"{run}-%") == MESSAGES)

    await poll_until(all_handled, 30)
    parked = await broker.collect_parked(len(EXPECTED_ATTEMPTS))
    attempts = {
        message.headers["prebook-x-cause"]: int(message.headers.get("prebook-attempt", "1")) for message in parked
    }
    assert attempts == EXPECTED_ATTEMPTS
    assert {message.routing_key for message in parked} == {QUEUE}
    assert await read_message_counter(suite, "handling_failed", "pricing") - failed == ATTEMPTS, (
        "the handler fails exactly once per attempt"
    )
    assert await read_message_counter(suite, "retried", "pricing") - retried == ATTEMPTS - 1
    assert await database.fetch_value(GRANTS, f"{run}-%") == MESSAGES


@pytest.fixture
async def delete_dead_letters(database: DatabaseProbe) -> AsyncIterator[None]:
    """Delete all dead letters of operations after the test."""
    yield
    await database.connection.execute("DELETE FROM operations.dead_letter")


@pytest.mark.usefixtures("delete_dead_letters")
@pytest.mark.parametrize("coupling", Coupling)
async def test_a_request_whose_handler_always_fails_is_parked_and_replayed_in_every_coupling(
    coupling: Coupling, suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    failed = await read_message_counter(suite, "handling_failed", "pricing")
    async with broken_pricing(database):
        booking_id = await rider.prebook(uniform_plan(coupling))
        (dead_letter,) = await wait_for_dead_letters(suite, 1, message_id=f"{booking_id}.quote_fare")

    attempts = dead_letter["attempts"]
    assert await read_message_counter(suite, "handling_failed", "pricing") - failed == attempts
    if coupling is Coupling.SYNC_API:  # the call may end before its last attempt
        assert dead_letter["cause"] in {"expired", "attempts_exhausted"}
        assert attempts <= ATTEMPTS
    else:
        assert (dead_letter["cause"], attempts) == ("attempts_exhausted", ATTEMPTS)
    assert "RaiseError" in dead_letter["error"]
    shown = await run_parking(suite, "show", str(dead_letter["id"]))
    assert json.loads(shown["payload"]["text"])["vehicle_class"] == "standard"
    replay = await run_parking(suite, "replay", str(dead_letter["id"]), "--apply", "--wait")
    assert (replay["state"], replay["counts"]) == ("done", {"resolved": 1})
    assert await database.fetch_value(GRANTS, booking_id) == 1
    states = await database.wait_until_settled([booking_id])
    assert states[booking_id] == ("failed" if coupling is Coupling.SYNC_API else "confirmed")


async def _send_messages(broker: BrokerProbe, run: str) -> None:
    """Send all messages, with the poison in the middle."""
    limit = asyncio.Semaphore(MAX_CONCURRENT_SENDS)

    async def send(wire: WireMessage) -> None:
        async with limit:
            await broker.send(addresses.REDELIVER, QUEUE, wire)

    others = [booking_ended_event(f"{run}-{number}") for number in range(MESSAGES)]
    poison = [_with_changes(booking_ended_event(f"{run}-{cause}"), *changes) for cause, changes in POISON.items()]
    middle = [*poison, booking_ended_event(f"{run}-always-failing")]
    await asyncio.gather(*(send(wire) for wire in (*others[: MESSAGES // 2], *middle, *others[MESSAGES // 2 :])))


def _with_changes(wire: WireMessage, headers: Mapping[str, str], body: bytes) -> WireMessage:
    return WireMessage({**wire.headers, **headers}, body)
