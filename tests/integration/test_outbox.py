"""Abandoned outbox rows are listed with their cause, counted, and delivered once after they are sent again."""

import asyncio
import json
from functools import partial
from typing import Any

import aio_pika
import pytest

from prebook.contracts.plan import Coupling
from prebook.messaging import addresses
from tests.conditions import poll_until
from tests.integration.broker_probe import BrokerProbe
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.metrics import read_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
FLOW = "notify_rider"
QUEUE = addresses.request_queue("notification", FLOW)
ROW = "SELECT seq, state, message_id, ordering_key, message FROM booking.outbox WHERE seq = $1"


async def run_outbox(suite: Suite, *arguments: str, status: int = 0) -> Any:
    """Run `prebook outbox` with ``arguments`` and return the JSON that it prints."""
    done = await asyncio.to_thread(suite.prebook, "outbox", *arguments, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


async def list_abandoned(suite: Suite, booking_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        await run_outbox(suite, "list", "--service", "booking", "--conversation-id", booking_id)
    )["rows"]
    return rows


async def count_abandoned(suite: Suite, state: str, cause: str) -> float:
    """Return the number of abandoned rows of booking that its metrics report for a state and a cause."""
    return await read_counter(suite, "prebook_outbox_abandoned", "booking", state=state, cause=cause)


async def test_an_unroutable_message_is_abandoned_and_delivered_once_when_it_is_sent_again(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    async with await aio_pika.connect(suite.state.amqp_url) as connection:
        channel = await connection.channel()
        destination, source = [await channel.get_exchange(name, ensure=False) for name in (QUEUE, addresses.REQUESTS)]
        await destination.unbind(source, FLOW)
        try:
            booking_id = await rider.prebook(uniform_plan(Coupling.REQUEST_REPLY))
            await poll_until(partial(_is_abandoned, database, booking_id), 30)
        finally:
            await destination.bind(source, FLOW)
    row = (await list_abandoned(suite, booking_id))[0]
    assert (row["state"], row["cause"], row["type"]) == ("undeliverable", "unroutable", "prebook.notify_rider.v1")
    assert (row["service"], row["conversation_id"], row["failures"]) == ("booking", booking_id, 12)
    assert "routes 'notify_rider' to no queue" in row["error"]
    assert await count_abandoned(suite, "undeliverable", "unroutable") >= 1
    shown = await run_outbox(suite, "show", "booking", str(row["id"]))
    assert shown["content"]["headers"]["ce-id"] == row["message_id"]

    before = await _read_row(database, row["id"])
    resend = ("resend", "booking", "--conversation-id", booking_id, "--cause", "unroutable", "--ignore-expiry")
    planned = await run_outbox(suite, *resend)
    assert (planned["dry_run"], planned["ineligible"]) == (True, [])
    assert await _read_row(database, row["id"]) == before, "a dry run changes nothing"
    resent = await run_outbox(suite, *resend, "--apply")
    assert row["id"] in resent["ids"] == planned["ids"]

    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed"), "the rider is notified once"
    after = await _read_row(database, row["id"])
    assert (after["state"], after["message_id"], after["ordering_key"]) == (
        "sent",
        before["message_id"],
        before["ordering_key"],
    )
    assert _without_expiry(after["message"]) == _without_expiry(before["message"])
    assert (
        await database.fetch_value("SELECT count(*) FROM notification.inbox WHERE message_id = $1", row["message_id"])
        == 1
    )
    assert await list_abandoned(suite, booking_id) == []
    assert await count_abandoned(suite, "undeliverable", "unroutable") == 0
    again = await run_outbox(suite, "resend", "booking", str(row["id"]), "--apply")
    assert [r["reason"] for r in again["ineligible"]] == ["its state is sent; only abandoned rows can be resent"]


async def test_a_discarded_row_is_not_listed_as_abandoned_and_can_still_be_sent_again(
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
    (row,) = await list_abandoned(suite, booking_id)
    assert (row["id"], row["state"]) == (seq, "expired")
    (expired,) = (await run_outbox(suite, "resend", "booking", str(seq), "--apply"))["ineligible"]
    assert "--ignore-expiry" in expired["reason"]
    assert (await run_outbox(suite, "discard", "booking", str(seq), "--reason", "a test", "--apply"))["ids"] == [seq]
    assert await list_abandoned(suite, booking_id) == []
    (row,) = (await run_outbox(suite, "list", "--state", "discarded", "--conversation-id", booking_id))["rows"]
    assert (row["id"], row["error"]) == (seq, "a test")
    assert (await run_outbox(suite, "resend", "booking", str(seq), "--ignore-expiry", "--apply"))["ids"] == [seq]
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed"), (
        "pricing has handled the message before and ignores it"
    )


async def test_a_missing_row_is_reported_with_a_remedy(suite: Suite) -> None:
    done = await asyncio.to_thread(suite.prebook, "outbox", "resend", "booking", "999999999", "--apply")
    assert done.returncode == 1
    assert "`prebook outbox list`" in done.stderr


async def _read_row(database: DatabaseProbe, seq: int) -> dict[str, Any]:
    (row,) = await database.connection.fetch(ROW, seq)
    return dict(row)


async def _is_abandoned(database: DatabaseProbe, booking_id: str) -> bool:
    return bool(await database.read_abandoned([booking_id], ["undeliverable"]))


def _without_expiry(wire: str) -> dict[str, Any]:
    """Return headers and body without the expiry time, which --ignore-expiry removes."""
    message: dict[str, Any] = json.loads(wire)
    message["headers"].pop("prebook-expires-at", None)
    return message
