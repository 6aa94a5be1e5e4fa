"""Many dead letters are listed in groups, and replayed while command, operations and receiver are killed in turn.

The default is a thousand dead letters; PREBOOK_TEST_PARKED=10000 runs the test at the promised size.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from tests.conditions import poll_until
from tests.conftest import Figure
from tests.integration.broker_probe import BrokerProbe, drain
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe
from tests.integration.suite import PREBOOK, Suite
from tests.integration.synthetic_events import booking_ended_event

pytestmark = [pytest.mark.real, pytest.mark.long]
MESSAGES = int(os.environ.get("PREBOOK_TEST_PARKED", "1000"))
TIMEOUT_S = 60.0 + MESSAGES / 50
MAX_LISTING_S = 1.0
MAX_CONCURRENT_SENDS = 200
GROUPS = 8
ROUTING_KEY = addresses.event_routing_key("booking_ended")
QUEUE = addresses.event_queue("pricing")
STORED = "SELECT count(*) FROM operations.dead_letter WHERE queue = $1 AND conversation_id LIKE $2"
RESOLVED = "SELECT count(*) FROM operations.redelivery WHERE replay_id = $1 AND state = 'resolved'"
EFFECTS = "SELECT count(*) FROM {}.inbox WHERE message_id LIKE $1"
GRANTS = "SELECT count(*) FROM pricing.discount_grant WHERE booking_id LIKE $1"


@pytest.fixture
async def delete_dead_letters(database: DatabaseProbe) -> AsyncIterator[None]:
    """Delete all dead letters of operations after the test."""
    yield
    await database.connection.execute("DELETE FROM operations.dead_letter")


@pytest.mark.usefixtures("delete_dead_letters")
@pytest.mark.timeout(int(4 * TIMEOUT_S))
async def test_each_message_is_resolved_once_though_command_operations_and_receiver_are_killed(  # noqa: PLR0917
    suite: Suite,
    database: DatabaseProbe,
    broker: BrokerProbe,
    control: ControlClient,
    operations: httpx.AsyncClient,
    figure: Figure,
) -> None:
    run = uuid4().hex[:8]
    tap = await broker.tap((addresses.EVENTS, ROUTING_KEY))
    began = time.monotonic()
    await _park_events(broker, run)
    await poll_until(partial(_has_count, database, STORED, (QUEUE, f"{run}%"), MESSAGES), TIMEOUT_S, interval_s=0.2)
    stored_s = time.monotonic() - began
    listed_s = await _measure_listing(operations)

    began = time.monotonic()
    command = await asyncio.to_thread(_start_replay, suite)
    replay_id = (await operations.get("/v1/replays")).json()["replays"][0]["id"]
    await _wait_for_resolved(database, replay_id, 1)
    command.kill()
    assert command.wait() == -signal.SIGKILL
    for name in ("operations", "pricing"):
        await _wait_for_resolved(database, replay_id, await database.fetch_value(RESOLVED, replay_id) + MESSAGES // 25)
        psutil.Process(await control.read_pid(name)).send_signal(signal.SIGKILL)
        assert await database.fetch_value(RESOLVED, replay_id) < MESSAGES, "the process is killed during the replay"
    await control.wait_until_all_running()
    view = await _wait_until_done(operations, replay_id)
    replayed_s = time.monotonic() - began

    assert (view["state"], view["counts"], view["duplicates"]) == ("done", {"resolved": MESSAGES}, 0)
    assert await database.fetch_value(EFFECTS.format("pricing"), f"{run}-%") == MESSAGES
    assert await database.fetch_value(GRANTS, f"{run}-%") == MESSAGES, "each message has one effect"
    assert await database.fetch_value(EFFECTS.format("matching"), f"{run}-%") == 0, (
        "a subscriber that had not failed receives nothing"
    )
    received = [message.conversation_id for message in await drain(tap)]
    assert not [each for each in received if each.startswith(run)], (
        "neither another subscriber nor the archive receives anything"
    )
    figure(
        f"{MESSAGES} parked: stored within {stored_s:.1f} s, listed in groups within {listed_s * 1000:.0f} ms,"
        f" replayed within {replayed_s:.1f} s, three kills included"
    )


async def _park_events(broker: BrokerProbe, run: str) -> None:
    """Park events as pricing's consumer does."""
    limit = asyncio.Semaphore(MAX_CONCURRENT_SENDS)

    async def park(number: int) -> None:
        async with limit:
            await broker.send(addresses.PARKING, QUEUE, _failed_event(f"{run}-{number}", number % GROUPS))

    await asyncio.gather(*(park(number) for number in range(MESSAGES)))


def _failed_event(booking_id: str, cause: int) -> WireMessage:
    return booking_ended_event(
        booking_id,
        prebook_attempt="4",
        prebook_x_cause=f"cause_{cause}",
        prebook_x_error="TimeoutError: made up",
        prebook_x_exchange=addresses.EVENTS,
        prebook_x_routing_key=ROUTING_KEY,
    )


async def _measure_listing(operations: httpx.AsyncClient) -> float:
    """Return the seconds for a listing over HTTP: the best of three, because other programs may use the processor."""
    durations_s: list[float] = []
    for _ in range(3):
        began = time.monotonic()
        groups = (await operations.get("/v1/dead-letters/groups")).json()["groups"]
        durations_s.append(time.monotonic() - began)
        assert len([group for group in groups if group["queue"] == QUEUE]) == GROUPS
        assert sum(group["messages"] for group in groups) == MESSAGES
    assert min(durations_s) < MAX_LISTING_S
    return min(durations_s)


def _start_replay(suite: Suite) -> subprocess.Popen[bytes]:
    """Start `prebook parking replay --wait`, and return once operations has stored the replay."""
    command = [*PREBOOK, "parking", "replay", "--queue", QUEUE, "--apply", "--wait"]
    streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=suite.env, **streams)
    assert process.stderr is not None
    line = process.stderr.readline()
    with contextlib.closing(process.stderr):
        assert b"message(s)" in line, line
    return process


async def _wait_for_resolved(database: DatabaseProbe, replay_id: str, count: int) -> None:
    await poll_until(partial(_has_count, database, RESOLVED, (replay_id,), count), TIMEOUT_S)


async def _has_count(database: DatabaseProbe, query: str, arguments: Iterable[str], count: int) -> bool:
    return int(await database.fetch_value(query, *arguments)) >= count


async def _wait_until_done(operations: httpx.AsyncClient, replay_id: str) -> dict[str, Any]:
    view: dict[str, Any] = {}

    async def is_done() -> bool:
        view.update((await operations.get(f"/v1/replays/{replay_id}")).json())
        return bool(view["state"] == "done")

    await poll_until(is_done, TIMEOUT_S, interval_s=0.3)
    return view
