"""A suite whose services write fields that their receivers do not know, in every coupling, on real servers."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from prebook.contracts.plan import Coupling
from prebook.messaging import addresses
from tests.conditions import poll_until
from tests.conftest import run_suite
from tests.integration.broken_pricing import broken_pricing
from tests.integration.broker_probe import ALL_MESSAGES, BrokerProbe, CapturedMessage, drain
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite
from tests.integration.test_break_fix_replay import EXTEND_DEADLINES
from tests.integration.test_parking import run_parking, wait_for_dead_letters
from tests.messaging.additional_fields import ADDITIONAL_FIELD, spell_out

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
NEWER_SENDERS = "tests/integration/newer_senders"
PLANS = [uniform_plan(coupling) for coupling in Coupling]
DEAD_LETTERS = "SELECT message_id, payload FROM operations.dead_letter WHERE conversation_id = ANY($1)"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Suite]:
    settings = {"PYTHONPATH": str(pytestconfig.rootpath / NEWER_SENDERS)}
    with run_suite(tmp_path_factory.mktemp("newer") / "home", settings) as suite:
        yield suite


@pytest.fixture
async def delete_dead_letters(database: DatabaseProbe) -> AsyncIterator[None]:
    """Delete all dead letters after the test."""
    yield
    await database.connection.execute("DELETE FROM operations.dead_letter")


def is_unchanged(body: bytes, sender: str) -> bool:
    """Return whether a body has the bytes that its sender wrote, and no other service has encoded it again."""
    fields = json.loads(body)
    return fields[ADDITIONAL_FIELD] == [sender] and body == spell_out(fields)


async def test_rides_are_confirmed_in_every_coupling_and_also_while_a_receiver_is_killed(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, control: ControlClient
) -> None:
    tap = await broker.tap(*ALL_MESSAGES)
    undisturbed = await rider.prebook_all(PLANS)
    assert all_in_state(await database.verify_bookings(undisturbed), "confirmed")
    assert (await rider.cancel(undisturbed[0])).status_code == 200
    waiting = [plan for plan in PLANS if plan != uniform_plan(Coupling.SYNC_API)]
    await control.kill("pricing", down_s=1.0)
    disturbed = await rider.prebook_all(waiting * 3)
    await control.kill("notification")
    await control.kill("booking")
    assert all_in_state(await database.verify_bookings(disturbed), "confirmed")
    await database.verify_bookings(undisturbed)
    messages = await drain(tap)
    assert {each.headers["prebook-kind"] for each in messages} == {"request", "reply", "event"}
    assert all(is_unchanged(each.body, each.headers["ce-source"].rpartition("/")[2]) for each in messages), (
        "redelivered messages have the bytes of their senders"
    )


@pytest.mark.usefixtures("delete_dead_letters")
async def test_a_parked_request_keeps_its_bytes_and_is_handled_after_a_replay(
    suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    async with broken_pricing(database):
        ids = await rider.prebook_all(PLANS)
        await database.connection.execute(EXTEND_DEADLINES, ids)
        dead_letters = await wait_for_dead_letters(suite, len(ids), flow="quote_fare")
    payloads = {row["message_id"]: row["payload"] for row in await database.connection.fetch(DEAD_LETTERS, ids)}
    assert payloads.keys() == {f"{booking_id}.quote_fare" for booking_id in ids}
    assert all(is_unchanged(payload, "booking") for payload in payloads.values())
    assert max(each["attempts"] for each in dead_letters) > 1, "a retry keeps them too"

    replay = await run_parking(suite, "replay", *(str(each["id"]) for each in dead_letters), "--apply", "--wait")
    assert (replay["state"], replay["counts"]) == ("done", {"resolved": len(ids)})
    states = await database.wait_until_settled(ids)
    expected = {Coupling.SYNC_API: "failed"}  # its caller has given up
    assert [states[each] for each in ids] == [expected.get(coupling, "confirmed") for coupling in Coupling]


@pytest.mark.usefixtures("delete_dead_letters")
async def test_the_archive_replays_the_bytes_that_were_sent(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    began = datetime.now(UTC)
    ids = await rider.prebook_all([uniform_plan(Coupling.ONE_WAY)] * 2)
    assert all_in_state(await database.verify_bookings(ids), "confirmed")
    tap = await broker.tap((addresses.REDELIVER, addresses.one_way_request_queue("pricing", "quote_fare")))
    options = ("--from", began.isoformat(), "--to-service", "pricing", "--apply", "--ignore-expiry", "--json")
    done = await asyncio.to_thread(suite.prebook, "archive", "replay", *options)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert (report["sent"], report["duplicates"], report["new_effects"]) == (len(ids), len(ids), 0)
    redelivered: list[CapturedMessage] = []

    async def all_redelivered() -> bool:
        redelivered.extend(await drain(tap))
        return len(redelivered) == len(ids)

    await poll_until(all_redelivered)
    assert all(is_unchanged(each.body, "booking") for each in redelivered)
