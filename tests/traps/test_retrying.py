"""Traps 1 to 4 and 11 to 13: attempts and delays of retries, on a real broker."""

import asyncio
from typing import Any

import pytest
from aio_pika import Message
from aio_pika.abc import AbstractQueue

from prebook.contracts.plan import Coupling
from prebook.coupling.sync_api import MAX_ATTEMPTS as MAX_CALL_ATTEMPTS
from prebook.fleets.partners.registry import PARTNERS
from prebook.flows import FLOWS, SERVICES
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Malformed, Unreachable
from prebook.messaging.headers import CAUSE_HEADER, ERROR_HEADER
from prebook.messaging.recoverability.consumer_circuit import ConsumerCircuit
from prebook.messaging.recoverability.dead_letter import DELIVERY_LIMIT
from prebook.messaging.recoverability.decision import decide
from prebook.patterns.retry import Park, Retry
from prebook.rabbit.management import ManagementClient
from prebook.testing.configuration import make_policies
from prebook.topology.model import suite_topology
from tests.conditions import poll_until, wait_until
from tests.integration.broker_probe import BrokerProbe
from tests.integration.suite import POLICIES, Suite
from tests.traps.trap_queue import MAX_ATTEMPTS, RecordingHandler, TrapQueue, unique_request
from tests.world import SuiteWorld


@pytest.mark.real
async def test_trap_01_the_delivery_limit_dead_letters_and_never_deletes(
    suite: Suite, trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    """rabbitmq/rabbitmq-server#11937, Particular/NServiceBus.RabbitMQ#1550: the limit deletes without a DLX."""
    for limits in (await _read_effective_policies(suite)).values():
        assert max(policy.max_attempts for policy in POLICIES.values()) < int(limits["delivery-limit"])
        assert limits["dead-letter-exchange"] == addresses.PARKING

    assert await _crash_consumers(await _declare_limited_queue(trap_queue, "deleting", {})) == 0, (
        "the trap: the message is deleted"
    )
    parking = {"x-dead-letter-exchange": addresses.PARKING, "x-dead-letter-routing-key": "traps.crashing"}
    await _crash_consumers(await _declare_limited_queue(trap_queue, "parking", parking))
    (parked,) = await broker.collect_parked(1)
    assert (parked.routing_key, parked.body) == ("traps.crashing", b"crashing")


@pytest.mark.real
async def test_trap_02_attempts_are_independent_of_the_number_of_instances(
    trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    """Particular/docs.particular.net#4799: with counts in memory, six instances make 144 attempts of 24."""
    poison = unique_request("instances")
    handler = RecordingHandler(frozenset({poison.id}))
    async with trap_queue.run_consumers(handler, consumers=3):
        await trap_queue.send(broker, poison)
        await broker.collect_parked(1)
    assert len(handler.attempts) == MAX_ATTEMPTS


@pytest.mark.real
async def test_trap_03_every_retry_increments_the_attempt_header(trap_queue: TrapQueue, broker: BrokerProbe) -> None:
    """rabbitmq/rabbitmq-server#10709: a count of the broker stops when a client republishes."""
    poison = unique_request("incremented")
    handler = RecordingHandler(frozenset({poison.id}))
    async with trap_queue.run_consumers(handler):
        await trap_queue.send(broker, poison)
        (parked,) = await broker.collect_parked(1)
    assert handler.attempts == [(poison.id, attempt) for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert parked.headers["prebook-attempt"] == str(MAX_ATTEMPTS)


@pytest.mark.real
async def test_trap_04_a_retry_needs_no_message_id_property(trap_queue: TrapQueue, broker: BrokerProbe) -> None:
    """ag2ai/faststream#1603: without the property, retries silently did not happen."""
    poison = unique_request("property")
    without_id = encode(unique_request("without-id"))
    handler = RecordingHandler(frozenset({poison.id}))
    async with trap_queue.run_consumers(handler):
        await trap_queue.send(broker, poison)  # the broker probe sets headers and no message property
        await trap_queue.send_wire(
            broker, WireMessage({k: v for k, v in without_id.headers.items() if k != "ce-id"}, without_id.body)
        )
        parked = await broker.collect_parked(2)
    assert handler.ids == [poison.id] * MAX_ATTEMPTS
    causes = {message.headers["prebook-x-cause"]: message for message in parked}
    assert causes.keys() == {"attempts_exhausted", "missing_header"}
    assert causes["missing_header"].body == without_id.body, "a message without id is parked and not dropped"


@pytest.mark.real
async def test_trap_11_a_retry_delay_occupies_no_prefetch_slot(trap_queue: TrapQueue, broker: BrokerProbe) -> None:
    """ThreeDotsLabs/watermill#271: a back-off in the handler occupied the only slot and stalled the queue."""
    poison = unique_request("delayed")
    behind = unique_request("behind")
    handler = RecordingHandler(frozenset({poison.id}))
    async with trap_queue.run_consumers(handler, prefetch=1, delay_s=0.5):
        await trap_queue.send(broker, poison, behind)
        await wait_until(lambda: len(handler.attempts) > 1)
        assert handler.ids[:2] == [poison.id, behind.id], "the next message is handled during the delay"
        await broker.collect_parked(1)


async def test_trap_12_two_retry_layers_do_not_multiply() -> None:
    """dapr/docs#3650: retries of the client within retries of the broker.

    The search for a driver is a message, and its handler calls the fleets, which are down.
    """
    plan = dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY) | {"ask_fleet": Coupling.SYNC_API}
    async with SuiteWorld() as world:
        world.down.add("fleets")
        view = await world.wait_until_settled(await world.book(plan))
        calls = [call for call in world.http.calls if call.startswith("POST fleets")]
    assert view.state == "rejected"
    assert len(PARTNERS) <= len(calls) <= len(PARTNERS) * MAX_CALL_ATTEMPTS, (
        "only the calls are retried, and not also the message"
    )
    assert world.observer.handled_flows.count("find_driver") == 2, "request and reply are each handled once"


@pytest.mark.real
async def test_trap_13_a_long_delay_does_not_hold_back_a_short_one(trap_queue: TrapQueue, broker: BrokerProbe) -> None:
    """rabbitmq/rabbitmq-server#2074: the TTL of a message takes effect only at the head of its queue."""
    dead_letter_arguments: Any = {
        "x-dead-letter-exchange": addresses.REDELIVER,
        "x-dead-letter-routing-key": trap_queue.queue.name,
    }
    mixed = await trap_queue.channel.declare_queue(exclusive=True, arguments=dead_letter_arguments)
    for body, ttl_s in ((b"long", 1.0), (b"short", 0.2)):
        await trap_queue.channel.default_exchange.publish(Message(body, expiration=ttl_s), mixed.name)
    assert await _read_bodies(trap_queue.queue, 2) == [b"long", b"short"], (
        "the trap: the long TTL holds back the short one"
    )

    for delay_s, body in ((1.0, b"long"), (0.2, b"short")):
        await broker.send(addresses.delay_queue(delay_s), trap_queue.queue.name, WireMessage({}, body))
    assert await _read_bodies(trap_queue.queue, 2) == [b"short", b"long"]


async def _read_effective_policies(suite: Suite) -> dict[str, dict[str, Any]]:
    """Return the effective policy of every consumed queue; the broker reports them some seconds after its start."""
    state = suite.state
    policies: dict[str, dict[str, Any]] = {}
    consumed = {queue.name for queue in suite_topology(()).consumed_queues() if queue.consumer in SERVICES}

    async def is_complete() -> bool:
        effective = (await management.read_live_broker()).effective_policies
        policies.update({name: dict(effective[name]) for name in consumed if effective.get(name)})
        return policies.keys() == consumed

    async with ManagementClient(state.management_url, state.management_user, state.management_password) as management:
        await poll_until(is_complete, 15, interval_s=0.5)
    return policies


async def _declare_limited_queue(trap_queue: TrapQueue, name: str, arguments: dict[str, str]) -> AbstractQueue:
    limits: Any = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT, "x-expires": 60_000, **arguments}
    return await trap_queue.channel.declare_queue(f"{trap_queue.queue.name}.{name}", durable=True, arguments=limits)


async def _crash_consumers(queue: AbstractQueue) -> int:
    """Publish a message and return it once more than the delivery limit; return how many messages remain."""
    message = Message(b"crashing", delivery_mode=2)
    await queue.channel.default_exchange.publish(message, queue.name)
    for _ in range(DELIVERY_LIMIT + 1):
        async with asyncio.timeout(10):
            while (delivered := await queue.get(fail=False)) is None:
                await asyncio.sleep(0.01)
        await delivered.reject(requeue=True)
    return (await queue.declare()).message_count or 0


async def _read_bodies(queue: AbstractQueue, count: int) -> list[bytes]:
    """Return the bodies of the next ``count`` messages in order of arrival."""
    bodies: list[bytes] = []
    async with asyncio.timeout(10):
        while len(bodies) < count:
            if message := await queue.get(fail=False, no_ack=True):
                bodies.append(message.body)
            await asyncio.sleep(0.01)
    return bodies


async def test_a_failing_message_is_parked_after_its_maximum_attempts() -> None:
    """Traps 2 and 3: the attempt is counted in a header of the message, which survives encoding."""
    envelope = unique_request("failing")
    attempts = 1
    while (
        isinstance(decide(envelope, ValueError("again"), make_policies(max_attempts=MAX_ATTEMPTS), utc_now()), Retry)
        and attempts < 50
    ):
        envelope = decode(encode(envelope.next_attempt()))
        attempts += 1
    assert attempts == MAX_ATTEMPTS


async def test_a_permanent_failure_is_parked_at_once() -> None:
    malformed = Malformed("bad_json", "not JSON")
    policies = make_policies(max_attempts=MAX_ATTEMPTS)
    assert decide(unique_request("malformed"), malformed, policies, utc_now()) == Park("bad_json")


@pytest.mark.real
async def test_one_message_alone_cannot_keep_its_queue_paused(trap_queue: TrapQueue, broker: BrokerProbe) -> None:
    """An outage that all messages meet pauses their queue, and no other does."""
    offender = unique_request("lone-outage")
    handled = set[str]()

    async def handle(envelope: Envelope) -> None:
        if envelope.id == offender.id:
            raise Unreachable("a statement of the database took too long")
        handled.add(envelope.id)

    async with trap_queue.run_consumers(handle, prefetch=8) as (consumer,):
        consumer.consumer_circuits = {trap_queue.queue.name: ConsumerCircuit(cool_down_s=0.05)}
        await trap_queue.send(broker, offender)
        parking = asyncio.create_task(broker.collect_parked(1, timeout_s=60))
        others = []
        while not parking.done():
            others.append(unique_request("other"))
            await trap_queue.send(broker, others[-1])
            await asyncio.wait({parking}, timeout=0.05)
        await wait_until(lambda: {each.id for each in others} <= handled, timeout_s=15)
    (parked,) = await parking
    assert (parked.headers["ce-id"], parked.headers[CAUSE_HEADER]) == (offender.id, "attempts_exhausted")
    assert "took too long" in parked.headers[ERROR_HEADER]
