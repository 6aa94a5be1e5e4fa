"""What an outbox gives up: named with its cause, counted, and sent again once the cause is gone; it then comes once."""

import asyncio
import json
from functools import partial
from typing import Any

import aio_pika
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from prebook.contracts.plan import Coupling
from prebook.messaging import addresses
from tests.conditions import poll_until
from tests.integration.broker_probe import BrokerProbe
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
FLOW = "notify_rider"
PLACE = addresses.request_queue("notification", FLOW)
ROW = "SELECT seq, state, message_id, ordering_key, message FROM booking.outbox WHERE seq = $1"


async def said(suite: Suite, *arguments: str, status: int = 0) -> Any:
    """What `prebook outbox ... --json` prints."""
    done = await asyncio.to_thread(suite.prebook, "outbox", *arguments, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


async def given_up(suite: Suite, booking_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await said(suite, "list", "--service", "booking", "--conversation-id", booking_id))[
        "rows"
    ]
    return rows


async def read_message_counter(suite: Suite, state: str, cause: str) -> float:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
        page = (await http.get(f"{suite.state.urls['booking']}/metrics")).text
    samples = [s for family in text_string_to_metric_families(page) for s in family.samples]
    labels = {"state": state, "cause": cause}
    return sum(s.value for s in samples if s.name == "prebook_outbox_abandoned" and s.labels == labels)


async def test_what_goes_nowhere_is_named_and_once_it_goes_somewhere_it_is_sent_again_and_comes_once(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    async with await aio_pika.connect(suite.state.amqp_url) as connection:
        channel = await connection.channel()
        place, source = [await channel.get_exchange(name, ensure=False) for name in (PLACE, addresses.REQUESTS)]
        await place.unbind(source, FLOW)
        try:
            booking_id = await rider.prebook(uniform_plan(Coupling.REQUEST_REPLY))
            await poll_until(partial(_is_given_up, database, booking_id), 30)
        finally:
            await place.bind(source, FLOW)
    row = (await given_up(suite, booking_id))[0]
    assert (row["state"], row["cause"], row["type"]) == ("undeliverable", "unroutable", "prebook.notify_rider.v1")
    assert (row["service"], row["conversation_id"], row["failures"]) == ("booking", booking_id, 12)
    assert "routes 'notify_rider' to no queue" in row["error"]
    assert await read_message_counter(suite, "undeliverable", "unroutable") >= 1
    shown = await said(suite, "show", "booking", str(row["id"]))
    assert shown["content"]["headers"]["ce-id"] == row["message_id"]

    before = await _kept(database, row["id"])
    chosen = ("resend", "booking", "--conversation-id", booking_id, "--cause", "unroutable", "--ignore-expiry")
    planned = await said(suite, *chosen)
    assert (planned["dry_run"], planned["refused"]) == (True, [])
    assert await _kept(database, row["id"]) == before, "a dry run changes nothing"
    again = await said(suite, *chosen, "--apply")
    assert row["id"] in again["ids"] == planned["ids"]

    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed"), "and the rider is told once"
    after = await _kept(database, row["id"])
    assert (after["state"], after["message_id"], after["ordering_key"]) == (
        "sent",
        before["message_id"],
        before["ordering_key"],
    )
    assert _but_its_end(after["message"]) == _but_its_end(before["message"])
    assert (
        await database.fetch_value("SELECT count(*) FROM notification.inbox WHERE message_id = $1", row["message_id"])
        == 1
    )
    assert await given_up(suite, booking_id) == []
    assert await read_message_counter(suite, "undeliverable", "unroutable") == 0
    refused = await said(suite, "resend", "booking", str(row["id"]), "--apply")
    assert [r["reason"] for r in refused["refused"]] == ["it is sent: only abandoned rows are sent again"]


async def test_what_is_left_for_good_is_not_counted_as_open_and_can_be_taken_back(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    booking_id = await rider.prebook(uniform_plan(Coupling.ONE_WAY))
    await database.verify_bookings([booking_id])
    seq = await database.fetch_value(
        """
        UPDATE booking.outbox SET state = 'expired', cause = 'expired', abandoned_at = now(), expires_at = now(),
            sent_at = NULL
        WHERE conversation_id = $1 AND flow = 'quote_fare' RETURNING seq""",
        booking_id,
    )
    (row,) = await given_up(suite, booking_id)
    assert (row["id"], row["state"]) == (seq, "expired")
    (refused,) = (await said(suite, "resend", "booking", str(seq), "--apply"))["refused"]
    assert "--ignore-expiry" in refused["reason"]
    assert (await said(suite, "discard", "booking", str(seq), "--reason", "a test", "--apply"))["ids"] == [seq]
    assert await given_up(suite, booking_id) == []
    (row,) = (await said(suite, "list", "--state", "discarded", "--conversation-id", booking_id))["rows"]
    assert (row["id"], row["error"]) == (seq, "a test")
    assert (await said(suite, "resend", "booking", str(seq), "--ignore-expiry", "--apply"))["ids"] == [seq]
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed"), (
        "pricing has had it before, and does nothing"
    )


async def test_a_row_that_is_not_there_is_told_with_a_remedy(suite: Suite) -> None:
    done = await asyncio.to_thread(suite.prebook, "outbox", "resend", "booking", "999999999", "--apply")
    assert done.returncode == 1
    assert "`prebook outbox list`" in done.stderr


async def _kept(database: DatabaseProbe, seq: int) -> dict[str, Any]:
    (row,) = await database.connection.fetch(ROW, seq)
    return dict(row)


async def _is_given_up(database: DatabaseProbe, booking_id: str) -> bool:
    return bool(await database.read_abandoned([booking_id], ["undeliverable"]))


def _but_its_end(wire: str) -> dict[str, Any]:
    """Headers and body; --ignore-expiry has taken the end of its time away."""
    told: dict[str, Any] = json.loads(wire)
    told["headers"].pop("prebook-expires-at", None)
    return told
