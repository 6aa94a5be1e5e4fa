"""`prebook archive` on a real suite: its status, and replays to services and to a foreign queue."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractQueue
from aiormq.exceptions import ChannelAccessRefused

from prebook.contracts.plan import Coupling
from prebook.messaging import addresses
from prebook.messaging.headers import HISTORY_HEADER, REPLAY_ID_HEADER
from prebook.rabbit.management import ManagementClient
from tests.conditions import poll_until
from tests.integration.broker_probe import CapturedMessage, drain
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.metrics import read_message_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import PREBOOK, Suite
from tests.replay.examples import archived_event

pytestmark = pytest.mark.real
CONFIRMED = "prebook.booking_confirmed.v1"
ENDED = "prebook.booking_ended.v3"


async def run_archive(suite: Suite, *arguments: str, status: int = 0) -> Any:
    """Run `prebook archive ... --json` and return its decoded output."""
    done = await asyncio.to_thread(suite.prebook, "archive", *arguments, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
async def channel(suite: Suite) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(suite.state.amqp_url) as connection:
        yield await connection.channel(on_return_raises=True)


@pytest.fixture
async def subscriber(channel: AbstractChannel) -> AbstractQueue:
    """A queue that the suite's topology does not know; an administrator has bound it by its name."""
    queue = await channel.declare_queue(f"billing.{uuid4().hex}", exclusive=True)
    await queue.bind(addresses.REDELIVER, queue.name)
    return queue


@pytest.fixture
async def booking(rider: RiderClient, database: DatabaseProbe) -> str:
    """Id of a booking that was confirmed and then cancelled by its rider: every event about it is published."""
    booking_id = await rider.prebook(uniform_plan(Coupling.ONE_WAY))
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")
    assert (await rider.cancel(booking_id)).status_code == 200
    await database.verify_bookings([booking_id])
    return booking_id


async def read_archived(suite: Suite, booking: str) -> list[CapturedMessage]:
    """Read the booking's messages from the start of the stream, by a consumer that shares no code with the suite."""
    found: list[CapturedMessage] = []
    expected: int = (await run_archive(suite, "replay", "--booking", booking, "--to-queue", "none"))["messages"]
    async with await aio_pika.connect(suite.state.amqp_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=100)

        async def collect(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            if message.correlation_id == booking:
                headers = {name: str(value) for name, value in message.headers.items()}
                found.append(CapturedMessage(message.exchange or "", message.routing_key or "", headers, message.body))
            await message.ack()

        queue = await channel.get_queue(addresses.ARCHIVE_QUEUE, ensure=False)
        await queue.consume(collect, arguments={"x-stream-offset": "first"})

        async def read() -> bool:
            return len(found) >= expected

        await poll_until(read)
    return found


async def test_status_counts_messages_by_type_and_routing_key(
    suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    await poll_until(lambda: _is_policy_effective(suite), timeout_s=30.0)
    before = await run_archive(suite, "status")
    assert before["retention"] == {"max_age": "7D", "max_bytes": 907_200_000, "segment_bytes": 5 * 10**7}
    ids = await rider.prebook_all([uniform_plan(coupling) for coupling in (Coupling.ONE_WAY, Coupling.SYNC_API)])
    assert all_in_state(await database.verify_bookings(ids), "confirmed")
    after = await run_archive(suite, "status")
    more = {key: n - before["routing_keys"].get(key, 0) for key, n in after["routing_keys"].items()}
    assert more["request.quote_fare"] == more["reply.quote_fare"] == 1, "only one_way sends requests as events"
    assert more["event.booking_confirmed"] == 2, "every coupling publishes events"
    assert after["types"][CONFIRMED] - before["types"].get(CONFIRMED, 0) == 2
    assert after["messages"] - before["messages"] == sum(more.values()) == after["last_offset"] - _last_offset(before)
    assert (
        datetime.fromisoformat(after["first_occurred_at"])
        < datetime.fromisoformat(after["last_occurred_at"])
        < datetime.now(UTC)
    )


async def _is_policy_effective(suite: Suite) -> bool:
    """The broker's statistics show a queue's policy some seconds after its declaration."""
    login = (suite.state.management_user, suite.state.management_password)
    async with ManagementClient(suite.state.management_url, *login) as broker:
        return addresses.ARCHIVE_QUEUE in (await broker.read_live_broker()).effective_policies


def _last_offset(status: Any) -> int:
    return -1 if status["last_offset"] is None else int(status["last_offset"])


@pytest.mark.parametrize("flags", [(), ("--ignore-expiry",)])
async def test_a_replay_to_a_service_that_handled_the_messages_has_no_effect_and_is_not_archived(
    suite: Suite, database: DatabaseProbe, booking: str, flags: tuple[str, ...]
) -> None:
    rows = await database.count_rows()
    archive = await run_archive(suite, "status")
    ineffective = await _count_ineffective(suite)
    arguments = ("replay", "--booking", booking, "--to-service", "pricing", *flags)
    planned = await run_archive(suite, *arguments)
    assert (planned["state"], planned["redeliveries"], planned["duplicates"], planned["new_effects"]) == (
        "dry_run",
        2,
        2,
        0,
    )
    assert planned["sent"] == 0
    for _ in range(2):
        report = await run_archive(suite, *arguments, "--apply")
        assert (report["state"], report["sent"], report["duplicates"], report["new_effects"]) == ("done", 2, 2, 0)

    async def all_arrived() -> bool:
        return await _count_ineffective(suite) - ineffective == 2 * 2

    await poll_until(all_arrived)
    await database.wait_until_nothing_pending([booking])
    assert await database.count_rows() == rows, "no table has gained or lost a row"
    assert await run_archive(suite, "status") == archive, "nothing was archived"


async def _count_ineffective(suite: Suite) -> float:
    return sum([await read_message_counter(suite, name, "pricing") for name in ("duplicate", "expired")])


async def test_a_message_missing_from_the_inbox_takes_effect_and_is_counted(
    suite: Suite, database: DatabaseProbe, booking: str
) -> None:
    """One event is deleted from the inbox, as if the database had been restored from an older backup."""
    deleted_id = await database.fetch_value(
        "DELETE FROM pricing.inbox WHERE conversation_id = $1 AND flow = 'booking_ended' RETURNING message_id", booking
    )
    arguments = ("replay", "--booking", booking, "--to-service", "pricing", "--type", ENDED)
    assert (await run_archive(suite, *arguments))["new_effects"] == 1
    report = await run_archive(suite, *arguments, "--apply")
    assert (report["duplicates"], report["new_effects"], report["unconfirmed"]) == (0, 1, 0)
    assert await database.fetch_value("SELECT count(*) FROM pricing.inbox WHERE message_id = $1", deleted_id) == 1
    assert (await run_archive(suite, *arguments, "--apply"))["new_effects"] == 0


async def test_only_a_new_subscriber_gets_the_selected_messages_with_their_ids_and_times(
    suite: Suite, subscriber: AbstractQueue, booking: str
) -> None:
    originals = {
        m.headers["ce-id"]: m for m in await read_archived(suite, booking) if m.headers["ce-type"] in {CONFIRMED, ENDED}
    }
    assert len(originals) == 2
    handled = await read_message_counter(suite, "handled") + await read_message_counter(suite, "duplicate")
    arguments = ("--booking", booking, "--type", CONFIRMED, "--type", ENDED, "--to-queue", subscriber.name)
    for _ in range(2):
        report = await run_archive(suite, "replay", *arguments, "--apply")
        received = await drain(subscriber)
        assert [m.headers["ce-id"] for m in received] == list(originals), "in the original order"
        for message in received:
            original = originals[message.headers["ce-id"]]
            published = {name: v for name, v in original.headers.items() if name != "x-stream-offset"}
            history = f"{published[HISTORY_HEADER]};archive_reader>redeliver"
            assert message.headers == published | {REPLAY_ID_HEADER: report["id"], HISTORY_HEADER: history}
            assert message.body == original.body
        assert report["new_effects"] is None, "the queue belongs to no service, so there is no inbox to read"
    assert await read_message_counter(suite, "handled") + await read_message_counter(suite, "duplicate") == handled


async def test_a_time_window_includes_its_start_and_excludes_its_end(
    suite: Suite, subscriber: AbstractQueue, booking: str
) -> None:
    times = {
        m.headers["ce-type"]: datetime.fromisoformat(m.headers["ce-time"]) for m in await read_archived(suite, booking)
    }
    confirmed = times[CONFIRMED]
    ended = times[ENDED]
    received = []
    for since, until in ((confirmed, ended), (ended, ended + timedelta(microseconds=1))):
        window = ("--from", since.isoformat(), "--to", until.isoformat(), "--booking", booking)
        await run_archive(
            suite, "replay", *window, "--type", CONFIRMED, "--type", ENDED, "--to-queue", subscriber.name, "--apply"
        )
        received.append([m.headers["ce-type"] for m in await drain(subscriber)])
    assert received == [[CONFIRMED], [ENDED]]
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert (await run_archive(suite, "replay", "--from", later, "--to-service", "pricing"))["messages"] == 0


async def test_a_message_of_an_unknown_version_prevents_the_replay(
    suite: Suite, channel: AbstractChannel, subscriber: AbstractQueue
) -> None:
    events = await channel.get_exchange(addresses.EVENTS, ensure=False)
    booking = f"b-{uuid4().hex}"
    for message in (
        archived_event(booking=booking),
        archived_event(1, booking=booking, ce_type="prebook.booking_ended.v9"),
    ):
        headers: dict[str, Any] = dict(message.headers)
        del headers["x-stream-offset"]
        # Only the archive is bound to this routing key.
        await events.publish(
            aio_pika.Message(message.wire.body, headers=headers), addresses.event_routing_key("booking_confirmed")
        )
    report = await run_archive(
        suite, "replay", "--booking", booking, "--to-queue", subscriber.name, "--apply", status=1
    )
    assert (report["state"], report["messages"], report["sent"]) == ("ineligible", 2, 0)
    assert [(r["reason"][:12], r["messages"]) for r in report["unsent"]] == [("unknown_type", 1)]
    assert await drain(subscriber) == []
    decodable = await run_archive(
        suite, "replay", "--booking", booking, "--type", ENDED, "--to-queue", subscriber.name, "--apply"
    )
    assert (decodable["state"], decodable["sent"]) == ("done", 1)


async def test_ctrl_c_interrupts_a_replay_and_the_audit_line_has_its_progress(
    suite: Suite, subscriber: AbstractQueue, booking: str
) -> None:
    command = [
        *PREBOOK,
        "archive",
        "replay",
        "--booking",
        booking,
        "--to-queue",
        subscriber.name,
        "--apply",
        "--rate",
        "4",
    ]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(*command, env=dict(suite.env), **pipes)
    assert process.stderr is not None
    first_line = (await process.stderr.readline()).decode()
    process.send_signal(signal.SIGINT)
    _, rest = await process.communicate()
    assert process.returncode == 130, rest
    lines = [json.loads(line) for line in (suite.home / "replays.jsonl").read_text().splitlines()]
    started, ended = lines[-2:]
    assert (started["state"], ended["state"]) == ("running", "interrupted")
    assert started["id"] == ended["id"]
    assert started["id"] in first_line
    arrived = len(await drain(subscriber))
    assert 0 < ended["sent"] < ended["redeliveries"]
    assert ended["sent"] <= arrived <= ended["sent"] + 1, "one message may have been confirmed and not counted"


async def test_a_queue_without_a_binding_interrupts_the_replay(suite: Suite, booking: str) -> None:
    report = await run_archive(
        suite, "replay", "--booking", booking, "--to-queue", "no.such.queue", "--apply", status=1
    )
    assert (report["state"], report["sent"]) == ("interrupted", 0)
    assert "no.such.queue" in report["unsent"][0]["reason"]


async def test_the_archive_readers_account_may_only_read_the_archive(suite: Suite) -> None:
    async with await aio_pika.connect(suite.state.archive_url) as connection:
        channel = await connection.channel(on_return_raises=True)
        events = await channel.get_exchange(addresses.EVENTS, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await events.publish(aio_pika.Message(b"{}"), addresses.event_routing_key("booking_confirmed"))
        queue = await (await connection.channel()).get_queue(addresses.PARKING_QUEUE, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await queue.get(fail=False)
