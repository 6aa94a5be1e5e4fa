"""The archive of a real suite, by the command line: read, and said again to whom it concerns."""

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
from prebook.messaging.headers import REPLAY_ID_HEADER
from prebook.rabbit.management import ManagementClient
from tests.conditions import eventually
from tests.integration.books import Books, every
from tests.integration.broker import Heard, drained
from tests.integration.measures import counted
from tests.integration.riders import Riders, pure
from tests.integration.suite import PREBOOK, Suite
from tests.replay.examples import kept

pytestmark = pytest.mark.real
CONFIRMED, ENDED = "prebook.booking_confirmed.v1", "prebook.booking_ended.v1"


async def said(suite: Suite, *arguments: str, status: int = 0) -> Any:
    """What `prebook archive ... --json` prints."""
    done = await asyncio.to_thread(suite.prebook, "archive", *arguments, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
async def channel(suite: Suite) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(suite.where.amqp_url) as connection:
        yield await connection.channel(on_return_raises=True)


@pytest.fixture
async def subscriber(channel: AbstractChannel) -> AbstractQueue:
    """A new one, that the suite's model does not know: an administrator has bound its queue by its name."""
    queue = await channel.declare_queue(f"billing.{uuid4().hex}", exclusive=True)
    await queue.bind(addresses.REDELIVER, queue.name)
    return queue


@pytest.fixture
async def booking(riders: Riders, books: Books) -> str:
    """Confirmed, and then cancelled by its rider: all that can be said about it has been said."""
    booking_id = await riders.prebook(pure(Coupling.ONE_WAY))
    assert every(await books.add_up([booking_id]), "confirmed")
    assert (await riders.cancel(booking_id)).status_code == 200
    await books.add_up([booking_id])
    return booking_id


async def archived(suite: Suite, booking: str) -> list[Heard]:
    """By a reader of the test's own, from the stream's beginning to its last message about this booking."""
    found: list[Heard] = []
    expected: int = (await said(suite, "replay", "--booking", booking, "--to-queue", "none"))["messages"]
    async with await aio_pika.connect(suite.where.amqp_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=100)

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            if message.correlation_id == booking:
                headers = {name: str(value) for name, value in message.headers.items()}
                found.append(Heard(message.exchange or "", message.routing_key or "", headers, message.body))
            await message.ack()

        queue = await channel.get_queue(addresses.ARCHIVE_QUEUE, ensure=False)
        await queue.consume(take, arguments={"x-stream-offset": "first"})

        async def read() -> bool:
            return len(found) >= expected

        await eventually(read)
    return found


async def test_status_counts_what_is_booked_by_type(suite: Suite, riders: Riders, books: Books) -> None:
    await eventually(lambda: _policy_is_told(suite), within_s=30.0)
    before = await said(suite, "status")
    assert before["retention"] == {"max_age": "7D", "max_bytes": 10**9, "segment_bytes": 5 * 10**7}
    ids = await riders.several([pure(coupling) for coupling in (Coupling.ONE_WAY, Coupling.SYNC_API)])
    assert every(await books.add_up(ids), "confirmed")
    after = await said(suite, "status")
    more = {key: n - before["routing_keys"].get(key, 0) for key, n in after["routing_keys"].items()}
    assert more["request.quote_fare"] == more["reply.quote_fare"] == 1, "questions are events in one coupling only"
    assert more["event.booking_confirmed"] == 2, "and facts are events in all"
    assert after["types"][CONFIRMED] - before["types"].get(CONFIRMED, 0) == 2
    assert after["messages"] - before["messages"] == sum(more.values()) == after["last_offset"] - _last(before)
    assert (
        datetime.fromisoformat(after["first_occurred_at"])
        < datetime.fromisoformat(after["last_occurred_at"])
        < datetime.now(UTC)
    )


async def _policy_is_told(suite: Suite) -> bool:
    """The broker's statistics know a queue's policy some seconds after it was declared."""
    login = (suite.where.management_user, suite.where.management_password)
    async with ManagementClient(suite.where.management_url, *login) as broker:
        return addresses.ARCHIVE_QUEUE in (await broker.read_live_broker()).effective_policies


def _last(status: Any) -> int:
    return -1 if status["last_offset"] is None else int(status["last_offset"])


@pytest.mark.parametrize("flags", [(), ("--ignore-expiry",)])
async def test_a_replay_to_who_had_it_has_no_effect_and_is_not_archived(
    suite: Suite, books: Books, booking: str, flags: tuple[str, ...]
) -> None:
    rows, archive, ignored = await books.counts(), await said(suite, "status"), await _had_no_effect(suite)
    wanted = ("replay", "--booking", booking, "--to-service", "pricing", *flags)
    planned = await said(suite, *wanted)
    assert (planned["state"], planned["redeliveries"], planned["duplicates"], planned["new_effects"]) == (
        "dry_run",
        2,
        2,
        0,
    )
    assert planned["sent"] == 0
    for _ in range(2):
        report = await said(suite, *wanted, "--apply")
        assert (report["state"], report["sent"], report["duplicates"], report["new_effects"]) == ("done", 2, 2, 0)

    async def all_arrived() -> bool:
        return await _had_no_effect(suite) - ignored == 2 * 2

    await eventually(all_arrived)
    await books.closed([booking])
    assert await books.counts() == rows, "no table has a row more or less"
    assert await said(suite, "status") == archive, "nothing is archived twice, and nobody said anything"


async def _had_no_effect(suite: Suite) -> float:
    return sum([await counted(suite, name, "pricing") for name in ("duplicate", "expired")])


async def test_what_a_receiver_never_had_takes_effect_and_is_counted(suite: Suite, books: Books, booking: str) -> None:
    """Its inbox is emptied of one fact, as if its database had been restored from an older copy."""
    gone = await books.value(
        "DELETE FROM pricing.inbox WHERE conversation_id = $1 AND flow = 'booking_ended' RETURNING message_id", booking
    )
    wanted = ("replay", "--booking", booking, "--to-service", "pricing", "--type", ENDED)
    assert (await said(suite, *wanted))["new_effects"] == 1
    report = await said(suite, *wanted, "--apply")
    assert (report["duplicates"], report["new_effects"], report["unconfirmed"]) == (0, 1, 0)
    assert await books.value("SELECT count(*) FROM pricing.inbox WHERE message_id = $1", gone) == 1
    assert (await said(suite, *wanted, "--apply"))["new_effects"] == 0


async def test_a_new_subscriber_gets_what_is_selected_with_ids_and_times_and_nobody_else_does(
    suite: Suite, subscriber: AbstractQueue, booking: str
) -> None:
    originals = {
        m.headers["ce-id"]: m for m in await archived(suite, booking) if m.headers["ce-type"] in {CONFIRMED, ENDED}
    }
    assert len(originals) == 2
    elsewhere = await counted(suite, "handled") + await counted(suite, "duplicate")
    wanted = ("--booking", booking, "--type", CONFIRMED, "--type", ENDED, "--to-queue", subscriber.name)
    for _ in range(2):
        report = await said(suite, "replay", *wanted, "--apply")
        heard = await drained(subscriber)
        assert [m.headers["ce-id"] for m in heard] == list(originals), "in the old order"
        for message in heard:
            original = originals[message.headers["ce-id"]]
            marked = {name: v for name, v in original.headers.items() if name != "x-stream-offset"}
            assert message.headers == marked | {REPLAY_ID_HEADER: report["id"]}
            assert message.body == original.body
        assert report["new_effects"] is None, "it has no inbox that could be asked"
    assert await counted(suite, "handled") + await counted(suite, "duplicate") == elsewhere


async def test_a_window_of_time_holds_its_beginning_and_not_its_end(
    suite: Suite, subscriber: AbstractQueue, booking: str
) -> None:
    times = {m.headers["ce-type"]: datetime.fromisoformat(m.headers["ce-time"]) for m in await archived(suite, booking)}
    confirmed, ended = times[CONFIRMED], times[ENDED]
    taken = []
    for since, until in ((confirmed, ended), (ended, ended + timedelta(microseconds=1))):
        window = ("--from", since.isoformat(), "--to", until.isoformat(), "--booking", booking)
        await said(
            suite, "replay", *window, "--type", CONFIRMED, "--type", ENDED, "--to-queue", subscriber.name, "--apply"
        )
        taken.append([m.headers["ce-type"] for m in await drained(subscriber)])
    assert taken == [[CONFIRMED], [ENDED]]
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert (await said(suite, "replay", "--from", later, "--to-service", "pricing"))["messages"] == 0


async def test_an_unknown_version_is_refused_and_nothing_is_sent(
    suite: Suite, channel: AbstractChannel, subscriber: AbstractQueue
) -> None:
    events, booking = await channel.get_exchange(addresses.EVENTS, ensure=False), f"b-{uuid4().hex}"
    for message in (kept(booking=booking), kept(1, booking=booking, ce_type="prebook.booking_ended.v9")):
        headers: dict[str, Any] = dict(message.headers)
        del headers["x-stream-offset"]
        # Under a key that nobody but the archive is bound to.
        await events.publish(
            aio_pika.Message(message.wire.body, headers=headers), addresses.event_routing_key("booking_confirmed")
        )
    report = await said(suite, "replay", "--booking", booking, "--to-queue", subscriber.name, "--apply", status=1)
    assert (report["state"], report["messages"], report["sent"]) == ("refused", 2, 0)
    assert [(r["reason"][:12], r["messages"]) for r in report["refusals"]] == [("unknown_type", 1)]
    assert await drained(subscriber) == []
    known = await said(suite, "replay", "--booking", booking, "--type", ENDED, "--to-queue", subscriber.name, "--apply")
    assert (known["state"], known["sent"]) == ("done", 1)


async def test_ctrl_c_ends_a_replay_and_leaves_a_line_that_says_how_far_it_came(
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
    replaying = await asyncio.create_subprocess_exec(*command, env=dict(suite.env), **pipes)
    assert replaying.stderr is not None
    told = (await replaying.stderr.readline()).decode()
    replaying.send_signal(signal.SIGINT)
    _, rest = await replaying.communicate()
    assert replaying.returncode == 130, rest
    lines = [json.loads(line) for line in (suite.home / "replays.jsonl").read_text().splitlines()]
    begun, ended = lines[-2:]
    assert (begun["state"], ended["state"]) == ("running", "interrupted")
    assert begun["id"] == ended["id"]
    assert begun["id"] in told
    arrived = len(await drained(subscriber))
    assert 0 < ended["sent"] < ended["redeliveries"]
    assert ended["sent"] <= arrived <= ended["sent"] + 1, "one may have been confirmed and not counted"


async def test_a_queue_that_is_not_bound_is_told(suite: Suite, booking: str) -> None:
    report = await said(suite, "replay", "--booking", booking, "--to-queue", "no.such.queue", "--apply", status=1)
    assert (report["state"], report["sent"]) == ("interrupted", 0)
    assert "no.such.queue" in report["refusals"][0]["reason"]


async def test_who_reads_the_archive_may_do_nothing_else(suite: Suite) -> None:
    async with await aio_pika.connect(suite.where.archive_url) as connection:
        channel = await connection.channel(on_return_raises=True)
        events = await channel.get_exchange(addresses.EVENTS, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await events.publish(aio_pika.Message(b"{}"), addresses.event_routing_key("booking_confirmed"))
        queue = await (await connection.channel()).get_queue(addresses.PARKING_QUEUE, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await queue.get(fail=False)
