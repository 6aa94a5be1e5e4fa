"""Many parked messages: listed in groups, and replayed while tool, operations and receiver are killed in turn.

A thousand of them here; PREBOOK_TEST_PARKED=10000 runs it at the size that is promised.
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

pytestmark = pytest.mark.real
MANY = int(os.environ.get("PREBOOK_TEST_PARKED", "1000"))
PATIENCE_S = 60.0 + MANY / 50
LISTED_WITHIN_S = 1.0
AT_ONCE = 200
"""Messages that are handed to the broker side by side."""
GROUPS = 8
FACT, QUEUE = addresses.event_routing_key("booking_ended"), addresses.event_queue("pricing")
TAKEN_IN = "SELECT count(*) FROM operations.dead_letter WHERE queue = $1 AND conversation_id LIKE $2"
RESOLVED = "SELECT count(*) FROM operations.redelivery WHERE replay_id = $1 AND state = 'resolved'"
EFFECTS = "SELECT count(*) FROM {}.inbox WHERE message_id LIKE $1"
SHARES = "SELECT count(*) FROM pricing.discount_grant WHERE booking_id LIKE $1"


@pytest.fixture
async def emptied(database: DatabaseProbe) -> AsyncIterator[None]:
    yield
    await database.connection.execute("DELETE FROM operations.dead_letter")


@pytest.mark.usefixtures("emptied")
@pytest.mark.timeout(int(4 * PATIENCE_S))
async def test_the_tool_operations_and_the_receiver_are_killed_and_each_message_is_resolved_once(  # noqa: PLR0917
    suite: Suite,
    database: DatabaseProbe,
    broker: BrokerProbe,
    control: ControlClient,
    operations: httpx.AsyncClient,
    figure: Figure,
) -> None:
    run = uuid4().hex[:8]
    tap = await broker.tap((addresses.EVENTS, FACT))
    began = time.monotonic()
    await _parked_facts(broker, run)
    await poll_until(partial(_reached, database, TAKEN_IN, (QUEUE, f"{run}%"), MANY), PATIENCE_S, interval_s=0.2)
    taken_in_s = time.monotonic() - began
    listed_s = await _listed(operations)

    began = time.monotonic()
    tool = await asyncio.to_thread(_told_to_replay, suite)
    replay_id = (await operations.get("/v1/replays")).json()["replays"][0]["id"]
    await _past(database, replay_id, 1)
    tool.kill()
    assert tool.wait() == -signal.SIGKILL
    for name in ("operations", "pricing"):
        await _past(database, replay_id, await database.fetch_value(RESOLVED, replay_id) + MANY // 25)
        psutil.Process(await control.read_pid(name)).send_signal(signal.SIGKILL)
        assert await database.fetch_value(RESOLVED, replay_id) < MANY, "in the middle of it"
    await control.wait_until_all_running()
    view = await _over(operations, replay_id)
    replayed_s = time.monotonic() - began

    assert (view["state"], view["counts"], view["duplicates"]) == ("done", {"resolved": MANY}, 0)
    assert await database.fetch_value(EFFECTS.format("pricing"), f"{run}-%") == MANY
    assert await database.fetch_value(SHARES, f"{run}-%") == MANY, "one effect each"
    assert await database.fetch_value(EFFECTS.format("matching"), f"{run}-%") == 0, "who had not failed hears nothing"
    heard = [message.conversation_id for message in await drain(tap)]
    assert not [told for told in heard if told.startswith(run)], "nor does any other subscriber, or the archive"
    figure(
        f"{MANY} parked: taken in within {taken_in_s:.1f} s, listed in groups within {listed_s * 1000:.0f} ms,"
        f" replayed within {replayed_s:.1f} s, three kills included"
    )


async def _parked_facts(broker: BrokerProbe, run: str) -> None:
    """As pricing's consumer parks them."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def park(number: int) -> None:
        async with limit:
            await broker.send(addresses.PARKING, QUEUE, _fact(f"{run}-{number}", number % GROUPS))

    await asyncio.gather(*(park(number) for number in range(MANY)))


def _fact(booking_id: str, cause: int) -> WireMessage:
    return booking_ended_event(
        booking_id,
        prebook_attempt="4",
        prebook_x_cause=f"cause_{cause}",
        prebook_x_error="TimeoutError: made up",
        prebook_x_exchange=addresses.EVENTS,
        prebook_x_routing_key=FACT,
    )


async def _listed(operations: httpx.AsyncClient) -> float:
    """Seconds for the answer over HTTP; the best of three, since somebody else may take the processor in one."""
    took: list[float] = []
    for _ in range(3):
        began = time.monotonic()
        groups = (await operations.get("/v1/dead-letters/groups")).json()["groups"]
        took.append(time.monotonic() - began)
        assert len([group for group in groups if group["queue"] == QUEUE]) == GROUPS
        assert sum(group["messages"] for group in groups) == MANY
    assert min(took) < LISTED_WITHIN_S
    return min(took)


def _told_to_replay(suite: Suite) -> subprocess.Popen[bytes]:
    """`prebook parking replay --wait`, once operations has the replay."""
    command = [*PREBOOK, "parking", "replay", "--queue", QUEUE, "--apply", "--wait"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    tool = subprocess.Popen(command, env=suite.env, **quiet)
    assert tool.stderr is not None
    said = tool.stderr.readline()
    with contextlib.closing(tool.stderr):
        assert b"message(s)" in said, said
    return tool


async def _past(database: DatabaseProbe, replay_id: str, count: int) -> None:
    await poll_until(partial(_reached, database, RESOLVED, (replay_id,), count), PATIENCE_S)


async def _reached(database: DatabaseProbe, query: str, arguments: Iterable[str], count: int) -> bool:
    return int(await database.fetch_value(query, *arguments)) >= count


async def _over(operations: httpx.AsyncClient, replay_id: str) -> dict[str, Any]:
    view: dict[str, Any] = {}

    async def over() -> bool:
        view.update((await operations.get(f"/v1/replays/{replay_id}")).json())
        return bool(view["state"] == "done")

    await poll_until(over, PATIENCE_S, interval_s=0.3)
    return view
