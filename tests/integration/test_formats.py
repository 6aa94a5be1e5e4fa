"""A suite that sends all messages in MessagePack, on real servers: rides, parking, and both replays."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import msgspec
import pytest
from aio_pika import DeliveryMode, Message

from prebook.contracts.plan import Coupling
from prebook.flows import EVENT_TYPES, FLOWS
from prebook.messaging import addresses
from prebook.messaging.body_codec import MSGPACK
from tests.conftest import run_suite
from tests.integration.broken_pricing import broken_pricing
from tests.integration.broker_probe import BrokerProbe
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite
from tests.integration.test_break_fix_replay import EXTEND_DEADLINES
from tests.integration.test_messages import VALID_BODY, VALID_HEADERS
from tests.integration.test_parking import run_parking, wait_for_dead_letters

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
FORMATS = ",".join(f"{name}=msgpack" for name in (*FLOWS, *(event.name for event in EVENT_TYPES)))
PLANS = [uniform_plan(coupling) for coupling in Coupling]
STORED = """
    SELECT headers ->> 'content-type' AS content_type, payload FROM operations.dead_letter
    WHERE flow = 'quote_fare'"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with run_suite(tmp_path_factory.mktemp("formats") / "home", {"PREBOOK_MESSAGE_FORMATS": FORMATS}) as suite:
        yield suite


@pytest.fixture
async def delete_dead_letters(database: DatabaseProbe) -> AsyncIterator[None]:
    """Delete all dead letters after the test."""
    yield
    await database.connection.execute("DELETE FROM operations.dead_letter")


@pytest.mark.usefixtures("delete_dead_letters")
async def test_messages_are_handled_parked_and_replayed_in_their_format(
    suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    began = datetime.now(UTC)
    undisturbed = await rider.prebook_all(PLANS)
    assert all_in_state(await database.verify_bookings(undisturbed), "confirmed")
    async with broken_pricing(database):
        ids = await rider.prebook_all(PLANS)
        await database.connection.execute(EXTEND_DEADLINES, ids)
        dead_letters = await wait_for_dead_letters(suite, len(ids), flow="quote_fare")
    stored = await database.connection.fetch(STORED)
    assert {row["content_type"] for row in stored} == {MSGPACK}
    assert {msgspec.msgpack.decode(row["payload"])["vehicle_class"] for row in stored} == {"standard"}
    assert "base64" in (await run_parking(suite, "show", str(dead_letters[0]["id"])))["payload"]

    replay = await run_parking(suite, "replay", *(str(each["id"]) for each in dead_letters), "--apply", "--wait")
    assert (replay["state"], replay["counts"]) == ("done", {"resolved": len(ids)})
    states = await database.wait_until_settled(ids)
    assert [states[each] for each in ids] == ["failed" if c is Coupling.SYNC_API else "confirmed" for c in Coupling]
    options = ("--from", began.isoformat(), "--to-service", "pricing", "--apply", "--ignore-expiry", "--json")
    done = await asyncio.to_thread(suite.prebook, "archive", "replay", *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["sent"], report["new_effects"], report["unsent"]) == (report["duplicates"], 0, [])


async def test_an_unknown_content_type_is_parked_with_its_cause(broker: BrokerProbe) -> None:
    message = Message(
        VALID_BODY,
        headers=dict(VALID_HEADERS),
        content_type="application/cbor",
        delivery_mode=DeliveryMode.PERSISTENT,
        user_id=addresses.broker_user("booking"),
    )
    await broker.publish(addresses.REQUESTS, "quote_fare", message)
    (parked,) = await broker.collect_parked(1)
    assert parked.headers["prebook-x-cause"] == "unknown_content_type"
    assert (parked.headers["content-type"], parked.body) == ("application/cbor", VALID_BODY)
