"""docs/walkthrough.md names functions that one booking and one dead letter really call, in its order."""

from dataclasses import replace
from typing import Any

import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from prebook.flows import FLOWS, OPERATIONS
from prebook.http.inbox_client import inbox_lookup
from prebook.messaging import addresses
from prebook.operations.app import targets_by_queue
from prebook.operations.dead_letters.recorder import DeadLetterRecorder
from prebook.operations.replays.runner import ReplayPorts, ReplayRunner
from prebook.rabbit.dead_letter_consumer import DeadLetterConsumer
from prebook.topology.sender_check import accept_any_sender
from tests.conditions import wait_until
from tests.operations.examples import QUEUE, Begin
from tests.operations.receivers import operations_client, run_until_ended
from tests.walkthrough.adapter_world import AdapterWorld
from tests.walkthrough.calls import Call, recorded_calls, unreached
from tests.walkthrough.page import CHAPTERS, PAGE, steps_of

BEFORE_THE_YEAR_1 = "0001-01-01T00:00:00+01:00"
"""Time that has no equivalent in UTC: the fare of such a ride raises OverflowError."""
TIMEOUT_S = 30.0


async def test_a_booking_by_request_reply_follows_the_page(world: AdapterWorld) -> None:
    """Booking's relay is held until the response is there, because in production either may be first."""
    with recorded_calls() as calls:
        world.down.add("booking")
        booking = await world.book(dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY))
        world.down.clear()
        await world.wait_until_settled(booking, timeout_s=TIMEOUT_S)
    assert unreached(steps_of("A booking by request_reply"), calls) == []


async def test_a_booking_by_sync_api_follows_the_page(world: AdapterWorld) -> None:
    with recorded_calls() as calls:
        response = await world.post_booking(dict.fromkeys(FLOWS, Coupling.SYNC_API))
    assert response.status_code == 201
    assert unreached(steps_of("Where sync_api differs"), calls) == []


async def test_a_dead_letter_follows_the_page(world: AdapterWorld, begin: Begin) -> None:
    look_up_inbox = inbox_lookup(world.client_of(OPERATIONS), TIMEOUT_S)
    ports = ReplayPorts(world.broker, look_up_inbox, targets_by_queue(world.policies))
    runner = ReplayRunner(begin, ports, "the runner")
    with recorded_calls() as calls:
        booking, payload = await book_with_a_damaged_request(world)
        await park(world, begin)
        async with operations_client(begin) as client:
            dead_letter = await edit_and_replay(client, payload)
            await runner.run_once()
            ride = await world.wait_until_settled(booking, timeout_s=TIMEOUT_S)
            await run_until_ended(runner)
            summary = (await client.get(f"/v1/dead-letters/{dead_letter}")).json()["summary"]
    assert ride.state is BookingState.CONFIRMED
    assert (summary["state"], summary["cause"]) == ("resolved", "attempts_exhausted")
    assert unreached(steps_of("A dead letter"), calls) == []


async def book_with_a_damaged_request(world: AdapterWorld) -> tuple[str, bytes]:
    """Book a ride, damage its request for a fare in pricing's queue; return the booking's id and the intact payload."""
    world.down.add("pricing")
    booking = await world.book(dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY))
    waiting = world.broker.queues[QUEUE]
    await wait_until(lambda: bool(waiting), TIMEOUT_S)
    intact = waiting.popleft()
    body = {**msgspec.json.decode(intact.body), "pickup_at": BEFORE_THE_YEAR_1}
    waiting.append(replace(intact, body=msgspec.json.encode(body)))
    world.down.clear()
    return booking, intact.body


async def park(world: AdapterWorld, begin: Begin) -> None:
    """Consume the dead letter as operations does."""
    parked = world.broker.queues[addresses.PARKING_QUEUE]
    await wait_until(lambda: bool(parked), TIMEOUT_S)
    recorder = DeadLetterRecorder(begin, accept_any_sender)
    consumer = DeadLetterConsumer("amqp://none", "operations", addresses.PARKING_QUEUE, 1, recorder.record)
    await consumer._consume(world.delivery_of(parked.popleft()))


async def edit_and_replay(client: httpx.AsyncClient, payload: bytes) -> int:
    """Give the only dead letter its intact payload again, replay it and return its id."""
    (summary,) = (await client.get("/v1/dead-letters")).json()["dead_letters"]
    path = f"/v1/dead-letters/{summary['id']}"
    assert (await client.get(path)).status_code == 200
    edit = {"reason": "correct the pickup time", "payload": {"text": payload.decode()}}
    await post(client, f"{path}/versions", edit)
    await post(client, "/v1/replays", {"selection": {"ids": [summary["id"]]}})
    return int(summary["id"])


async def post(client: httpx.AsyncClient, path: str, body: Any) -> None:
    response = await client.post(path, json=body)
    assert response.is_success, response.text


FIRST = Call("first", "a.py")
SECOND = Call("second", "b.py")
OTHER = Call("other", "b.py")


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([FIRST, OTHER, FIRST, SECOND], []),
        ([SECOND, FIRST], [SECOND]),
        ([FIRST, Call("second", "c.py")], [SECOND]),
        ([Call("renamed", "a.py"), SECOND], [FIRST, SECOND]),
        ([], [FIRST, SECOND]),
    ],
)
def test_a_step_that_is_not_called_in_order_is_found(calls: list[Call], expected: list[Call]) -> None:
    assert unreached([FIRST, SECOND], calls) == expected


def test_every_row_of_the_page_is_a_step() -> None:
    """A row that the pattern does not match would not be checked."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(steps_of(chapter)) for chapter in CHAPTERS)
