"""Poison messages in every coupling: the same attempts, delays and parking, and a replay that takes effect."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from prebook.flows import FLOWS
from prebook.messaging.addresses import PARKING, PARKING_QUEUE, REDELIVER, request_queue
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.errors import PermanentFailure
from prebook.messaging.headers import ERROR_HEADER
from prebook.messaging.outbox.store import LOCAL_ROUTE
from prebook.messaging.unit_of_work import OutboxMessage
from tests.conditions import wait_until
from tests.messaging.examples import request
from tests.world import SuiteWorld

MAX_ATTEMPTS = 3
POLICY = {"max_attempts": MAX_ATTEMPTS, "backoff_s": (0.05,)}
every_coupling = pytest.mark.parametrize("coupling", Coupling)


class Defect(Exception):
    """Fails like a defect of the handler."""


class NeverAccepted(PermanentFailure):
    """Fails in a way that no further attempt can change."""

    cause = "never_accepted"


def raises(error: Exception) -> Callable[..., Any]:
    async def fail(*_: object) -> None:
        raise error

    return fail


FAILURES = pytest.mark.parametrize(
    ("error", "cause", "attempts"),
    [(Defect("no fare"), "attempts_exhausted", MAX_ATTEMPTS), (NeverAccepted("no fare"), "never_accepted", 1)],
    ids=["defect", "permanent"],
)


@every_coupling
@FAILURES
async def test_a_request_that_always_fails_is_parked_and_replayed(
    coupling: Coupling, error: Exception, cause: str, attempts: int
) -> None:
    async with SuiteWorld(policy=POLICY) as world:
        world.databases["pricing"].tables.state.grant_discount = raises(error)
        response = await world.post_booking(dict.fromkeys(FLOWS, coupling))
        parked = await wait_until_parked(world, 1)
        booking_id = response.json()["id"]
        del world.databases["pricing"].tables.state.grant_discount
        failed = decode(parked[0])
        failures = world.observer.failed_attempts
        await replay_parked(world)
        await wait_until(lambda: failed.id in world.databases["pricing"].tables.inbox)
        ride = await world.wait_until(booking_id, lambda view: view.settled)

    assert failures == [(failed.id, attempt) for attempt in range(1, attempts + 1)]
    assert (parked[0].headers["prebook-x-cause"], failed.attempt) == (cause, attempts)
    assert parked[0].headers["prebook-x-error"] == f"{type(error).__name__}: no fare"
    assert failed.id == f"{booking_id}.quote_fare"
    assert b'"lat":52.5' in parked[0].body
    waits = world.services["booking"].channels[coupling].traits.uses_outbox
    assert ride.state is (BookingState.CONFIRMED if waits else BookingState.FAILED)


@every_coupling
@FAILURES
async def test_a_reply_that_always_fails_is_parked_and_replayed(
    coupling: Coupling, error: Exception, cause: str, attempts: int
) -> None:
    async with SuiteWorld(policy=POLICY) as world:
        world.databases["booking"].tables.state.lock = raises(error)
        response = await world.post_booking(dict.fromkeys(FLOWS, coupling))
        parked = await wait_until_parked(world, 1)
        del world.databases["booking"].tables.state.lock
        reply = decode(parked[0])
        failures = world.observer.failed_attempts
        await replay_parked(world)
        ride = await world.wait_until_settled(response.json()["id"])

    assert failures == [(reply.id, attempt) for attempt in range(1, attempts + 1)]
    assert (parked[0].headers["prebook-x-cause"], reply.attempt) == (cause, attempts)
    assert reply.id == f"{ride.id}.quote_fare.reply"
    assert ride.state is BookingState.CONFIRMED


@every_coupling
async def test_a_transient_failure_costs_one_attempt_and_parks_nothing(coupling: Coupling) -> None:
    async with SuiteWorld(policy=POLICY) as world:
        state = world.databases["pricing"].tables.state
        fail_once = raises(Defect("once"))

        async def grant(*arguments: Any) -> Any:
            del world.databases["pricing"].tables.state.grant_discount
            return await fail_once(*arguments)

        state.grant_discount = grant
        booking = await world.book(dict.fromkeys(FLOWS, coupling))
        ride = await world.wait_until_settled(booking)
        failures: Counter[tuple[str, int]] = Counter(world.observer.failed_attempts)

    assert failures == {(f"{booking}.quote_fare", 1): 1}
    assert not world.broker.queues[PARKING_QUEUE]
    assert ride.state is BookingState.CONFIRMED


@every_coupling
async def test_a_request_that_would_expire_before_its_next_attempt_is_parked_with_its_error(coupling: Coupling) -> None:
    async with SuiteWorld(policy={"max_attempts": 5, "backoff_s": (60.0,)}) as world:
        world.databases["pricing"].tables.state.grant_discount = raises(Defect("no fare"))
        await world.post_booking(dict.fromkeys(FLOWS, coupling))
        (parked,) = await wait_until_parked(world, 1)

    assert (parked.headers["prebook-x-cause"], parked.headers["prebook-attempt"]) == ("expired", "1")
    assert parked.headers["prebook-x-error"] == "Defect: no fare"


@pytest.mark.parametrize("arrival", ["from a queue", "from the local route"])
async def test_a_request_that_has_expired_after_a_failure_is_parked_with_its_last_error(arrival: str) -> None:
    past = utc_now() - timedelta(seconds=1)
    failed = request(attempt=2, expires_at=past, extra={ERROR_HEADER: "Defect: no driver"})
    async with SuiteWorld(policy=POLICY) as world:
        if arrival == "from a queue":
            await world.broker.publish(REDELIVER, request_queue("notification", "notify_rider"), encode(failed))
        else:
            async with world.databases["notification"].begin() as work:
                await work.enqueue([OutboxMessage(failed, LOCAL_ROUTE, failed.conversation_id)])
        (parked,) = await wait_until_parked(world, 1)
        inbox = world.databases["notification"].tables.inbox

    assert (parked.headers["prebook-x-cause"], parked.headers["prebook-x-error"]) == ("expired", "Defect: no driver")
    assert not inbox, "the handler is not called again"


async def wait_until_parked(world: SuiteWorld, count: int) -> list[WireMessage]:
    """Wait until as many messages are parked, and return them."""
    parked = world.broker.queues[PARKING_QUEUE]
    await wait_until(lambda: len(parked) >= count, timeout_s=10.0)
    return list(parked)


async def replay_parked(world: SuiteWorld) -> None:
    """Return the dead letter to the queue that it failed at, as operations does."""
    ((queue, parked),) = [(key, message) for exchange, key, message in world.broker.published if exchange == PARKING]
    headers = {name: value for name, value in parked.headers.items() if name != "prebook-attempt"}
    await world.broker.publish(REDELIVER, queue, WireMessage(headers, parked.body))
