"""Traps 1 to 4 and 11 to 13 of the reliability page: attempts, pauses, and who counts them. A real broker."""

import asyncio
from typing import Any

import pytest
from aio_pika import Message
from aio_pika.abc import AbstractQueue

from prebook.contracts.plan import Coupling
from prebook.coupling.sync_api import MAX_ATTEMPTS
from prebook.fleets.partners.registry import PARTNERS
from prebook.flows import FLOWS, SERVICES
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.errors import Malformed
from prebook.messaging.recoverability.decision import decide
from prebook.patterns.retry import Park, Retry
from prebook.rabbit.management import ManagementClient
from prebook.testing.configuration import make_policies
from prebook.topology.model import suite_topology
from prebook.topology.retry_and_dead_letter import DELIVERY_LIMIT
from tests.conditions import poll_until, wait_until
from tests.integration.broker_probe import BrokerProbe
from tests.integration.suite import POLICIES, Suite
from tests.traps.place import ATTEMPTS, Handler, Place, named
from tests.world import SuiteWorld


@pytest.mark.real
async def test_trap_01_delivery_limit_dead_letters_and_never_deletes(
    suite: Suite, place: Place, broker: BrokerProbe
) -> None:
    """rabbitmq/rabbitmq-server#11937, Particular/NServiceBus.RabbitMQ#1550: the limit deletes where nothing is set."""
    for limits in (await _effective(suite)).values():
        assert max(policy.max_attempts for policy in POLICIES.values()) < int(limits["delivery-limit"])
        assert limits["dead-letter-exchange"] == addresses.PARKING

    assert await _crashed_on(await _limited(place, "gone", {})) == 0, "the trap itself: nothing is left anywhere"
    parking = {"x-dead-letter-exchange": addresses.PARKING, "x-dead-letter-routing-key": "traps.crashing"}
    await _crashed_on(await _limited(place, "kept", parking))
    (parked,) = await broker.collect_parked(1)
    assert (parked.routing_key, parked.body) == ("traps.crashing", b"it crashes whoever takes it")


@pytest.mark.real
async def test_trap_02_attempts_do_not_multiply_by_the_number_of_instances(place: Place, broker: BrokerProbe) -> None:
    """Particular/docs.particular.net#4799: counted in memory, 24 attempts become 144 with six instances."""
    poison = named("instances")
    handler = Handler(frozenset({poison.id}))
    async with place.consuming(handler, consumers=3):
        await place.send(broker, poison)
        await broker.collect_parked(1)
    assert len(handler.tries) == ATTEMPTS


@pytest.mark.real
async def test_trap_03_every_retry_counts_up_the_header(place: Place, broker: BrokerProbe) -> None:
    """rabbitmq/rabbitmq-server#10709: a count that only the broker kept stands still once a client publishes again."""
    poison = named("counted")
    handler = Handler(frozenset({poison.id}))
    async with place.consuming(handler):
        await place.send(broker, poison)
        (parked,) = await broker.collect_parked(1)
    assert handler.tries == [(poison.id, attempt) for attempt in range(1, ATTEMPTS + 1)]
    assert parked.headers["prebook-attempt"] == str(ATTEMPTS)


@pytest.mark.real
async def test_trap_04_retry_needs_no_message_id_property(place: Place, broker: BrokerProbe) -> None:
    """ag2ai/faststream#1603: without the property nothing was retried, and nothing said so."""
    poison, nameless = named("property"), encode(named("nameless"))
    handler = Handler(frozenset({poison.id}))
    async with place.consuming(handler):
        await place.send(broker, poison)  # as the administrator sends: headers, and no property at all
        await place.put(broker, WireMessage({k: v for k, v in nameless.headers.items() if k != "ce-id"}, nameless.body))
        parked = await broker.collect_parked(2)
    assert handler.ids == [poison.id] * ATTEMPTS
    causes = {message.headers["prebook-x-cause"]: message for message in parked}
    assert causes.keys() == {"attempts_exhausted", "missing_header"}
    assert causes["missing_header"].body == nameless.body, "without an id of ours it is kept, not dropped"


@pytest.mark.real
async def test_trap_11_a_pause_holds_no_prefetch_slot(place: Place, broker: BrokerProbe) -> None:
    """ThreeDotsLabs/watermill#271: a back-off in the handler held the one slot and stalled the queue."""
    poison, behind = named("paused"), named("behind")
    handler = Handler(frozenset({poison.id}))
    async with place.consuming(handler, prefetch=1, pause_s=0.5):
        await place.send(broker, poison, behind)
        await wait_until(lambda: len(handler.tries) > 1)
        assert handler.ids[:2] == [poison.id, behind.id], "it is handled while the other one waits"
        await broker.collect_parked(1)


async def test_trap_12_two_retry_layers_do_not_multiply() -> None:
    """dapr/docs#3650: retries of the client within retries of the broker.

    A driver is looked for by a message, and the fleets are called within: they are away.
    """
    plan = dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY) | {"ask_fleet": Coupling.SYNC_API}
    async with SuiteWorld() as world:
        world.down.add("fleets")
        view = await world.wait_until_settled(await world.book(plan))
        calls = [call for call in world.http.calls if call.startswith("POST fleets")]
    assert view.state == "rejected"
    assert len(PARTNERS) <= len(calls) <= len(PARTNERS) * MAX_ATTEMPTS, (
        "one layer's tries, and not times another's attempts"
    )
    assert world.observer.handled_flows.count("find_driver") == 2, "the request and its answer, each handled once"


@pytest.mark.real
async def test_trap_13_a_short_pause_is_not_held_back_by_a_long_one(place: Place, broker: BrokerProbe) -> None:
    """rabbitmq/rabbitmq-server#2074: a TTL of a message is looked at when it has come to the head of its queue."""
    back_here: Any = {"x-dead-letter-exchange": addresses.REDELIVER, "x-dead-letter-routing-key": place.queue.name}
    mixed = await place.channel.declare_queue(exclusive=True, arguments=back_here)
    for words, ttl_s in ((b"long", 1.0), (b"short", 0.2)):
        await place.channel.default_exchange.publish(Message(words, expiration=ttl_s), mixed.name)
    assert await _bodies(place.queue, 2) == [b"long", b"short"], "the trap itself"

    for pause_s, words in ((1.0, b"long"), (0.2, b"short")):
        await broker.send(addresses.delay_queue(pause_s), place.queue.name, WireMessage({}, words))
    assert await _bodies(place.queue, 2) == [b"short", b"long"]


async def _effective(suite: Suite) -> dict[str, dict[str, Any]]:
    """Consumed queue -> what its policies come to, once the broker tells it of all: some seconds after a start."""
    where, told = suite.state, dict[str, dict[str, Any]]()
    consumed = {queue.name for queue in suite_topology(()).consumed_queues() if queue.consumer in SERVICES}

    async def all_told() -> bool:
        effective = (await management.read_live_broker()).effective_policies
        told.update({name: dict(effective[name]) for name in consumed if effective.get(name)})
        return told.keys() == consumed

    async with ManagementClient(where.management_url, where.management_user, where.management_password) as management:
        await poll_until(all_told, 15, interval_s=0.5)
    return told


async def _limited(place: Place, name: str, arguments: dict[str, str]) -> AbstractQueue:
    limits: Any = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT, "x-expires": 60_000, **arguments}
    return await place.channel.declare_queue(f"{place.queue.name}.{name}", durable=True, arguments=limits)


async def _crashed_on(queue: AbstractQueue) -> int:
    """One message, given back as often as the limit allows and once more; how many are left in the queue."""
    message = Message(b"it crashes whoever takes it", delivery_mode=2)
    await queue.channel.default_exchange.publish(message, queue.name)
    for _ in range(DELIVERY_LIMIT + 1):
        async with asyncio.timeout(10):
            while (taken := await queue.get(fail=False)) is None:
                await asyncio.sleep(0.01)
        await taken.reject(requeue=True)
    return (await queue.declare()).message_count or 0


async def _bodies(queue: AbstractQueue, count: int) -> list[bytes]:
    """As they arrive."""
    found: list[bytes] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            if message := await queue.get(fail=False, no_ack=True):
                found.append(message.body)
            await asyncio.sleep(0.01)
    return found


async def test_what_always_fails_is_parked_within_its_attempts() -> None:
    """Traps 2 and 3: the count travels in the message, over the wire and back."""
    envelope, tries = named("always"), 1
    while isinstance(decide(envelope, ValueError("again"), make_policies(max_attempts=ATTEMPTS)), Retry) and tries < 50:
        envelope, tries = decode(encode(envelope.next_attempt())), tries + 1
    assert tries == ATTEMPTS


async def test_what_can_never_work_is_parked_at_once() -> None:
    malformed = Malformed("bad_json", "it is no JSON")
    assert decide(named("never"), malformed, make_policies(max_attempts=ATTEMPTS)) == Park("bad_json")
