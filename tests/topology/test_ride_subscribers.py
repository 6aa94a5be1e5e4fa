"""Subscribers to confirmed rides on a real broker: routes, filter, permissions, and `prebook dispatch take`."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import aio_pika
import pytest
from aiormq.exceptions import ChannelAccessRefused
from click.testing import CliRunner

from prebook.cli.dispatch import dispatch
from prebook.contracts.ride import VehicleClass
from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope
from prebook.rabbit.management import ManagementClient
from prebook.topology.check import differences
from prebook.topology.model import suite_topology
from prebook.topology.ride_subscriptions import CONFIRMED_RIDES, RideSubscriptions
from tests.topology.conftest import PASSWORDS, VHOST
from tests.topology.ride_examples import TABLES, confirmed_ride, ended_booking, read_tables
from tests.topology.test_broker_behaviour import channel_of

pytestmark = pytest.mark.real
DEADLINE_S = 60.0
RIDES = {
    "b-west": confirmed_ride("b-west"),
    "b-airport": confirmed_ride("b-airport", vehicle_class=VehicleClass.XL, cents=9_900),
    "b-nowhere": confirmed_ride("b-nowhere", zone="48.1,11.5", distance_m=40_000),
}
WAITING = {
    "desk_west": ["b-west"],
    "desk_airport": ["b-airport"],
    "dispatch": ["b-nowhere"],
    "extraordinary_rides": ["b-airport", "b-nowhere"],
}


@pytest.fixture
def couplings(tmp_path: Path) -> Path:
    return tmp_path / "couplings.toml"


@pytest.fixture
async def subscriptions(broker: ManagementClient, couplings: Path) -> AsyncIterator[RideSubscriptions]:
    """Subscriptions whose topology is declared in the virtual host of these tests."""
    subscriptions = read_tables(couplings, TABLES)
    passwords = {account: f"password of {account}" for account in subscriptions.queues}
    model = suite_topology({0.2, 1.0}, subscriptions=subscriptions)
    await broker.declare(model, PASSWORDS | passwords)
    assert differences(model, await broker.read_live_broker(), frozenset({broker.user})) == []
    yield subscriptions
    for account in subscriptions.queues:
        await broker._request("DELETE", f"users/{addresses.broker_user(account)}")


@pytest.fixture
async def published(subscriptions: RideSubscriptions, amqp_host: str) -> None:
    await publish(amqp_host, *RIDES.values())


async def publish(host: str, *events: Envelope, names_sender: bool = True) -> None:
    """Publish events with booking's account to the address of confirmed rides."""
    user = addresses.broker_user("booking")
    async with channel_of(user, PASSWORDS["booking"], host) as channel:
        exchange = await channel.get_exchange(CONFIRMED_RIDES.exchange, ensure=False)
        for wire in map(encode, events):
            message = aio_pika.Message(
                wire.body, headers=dict(wire.headers), delivery_mode=2, user_id=user if names_sender else None
            )
            await exchange.publish(message, CONFIRMED_RIDES.routing_key)


def subscriber_url(account: str, host: str) -> str:
    return f"amqp://{addresses.broker_user(account)}:{quote(f'password of {account}')}@{host}/{VHOST}"


@pytest.mark.usefixtures("published")
async def test_waiting_rides_are_counted(subscriptions: RideSubscriptions, broker: ManagementClient) -> None:
    expected = {subscriptions.queues[account]: len(rides) for account, rides in WAITING.items()}
    async with asyncio.timeout(DEADLINE_S):
        while expected.items() - (await broker.count_messages()).items():
            await asyncio.sleep(0.3)


@pytest.mark.usefixtures("published")
async def test_each_ride_waits_for_one_desk_or_none_and_extraordinary_ones_also_for_their_reader(
    subscriptions: RideSubscriptions, administrator: tuple[str, str], amqp_host: str
) -> None:
    found: dict[str, list[str]] = {}
    async with channel_of(*administrator, amqp_host) as channel:
        for account, name in subscriptions.queues.items():
            queue = await channel.get_queue(name, ensure=False)
            found[account] = []
            while message := await queue.get(no_ack=True, fail=False):
                found[account].append(json.loads(message.body)["booking_id"])
    assert found == WAITING


async def test_a_subscriber_may_read_no_other_queue_and_publish_nothing(
    subscriptions: RideSubscriptions, amqp_host: str
) -> None:
    for name in {*subscriptions.queues.values()} - {addresses.desk_queue("west")}:
        async with await aio_pika.connect(subscriber_url("desk_west", amqp_host)) as connection:
            queue = await (await connection.channel()).get_queue(name, ensure=False)
            with pytest.raises(ChannelAccessRefused):
                await queue.get(fail=False)
    async with await aio_pika.connect(subscriber_url("desk_west", amqp_host)) as connection:
        exchange = await (await connection.channel()).get_exchange(CONFIRMED_RIDES.exchange, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await exchange.publish(aio_pika.Message(b"{}"), CONFIRMED_RIDES.routing_key)


@pytest.mark.usefixtures("published", "subscriptions")
def test_taken_rides_are_printed_once(couplings: Path, amqp_host: str) -> None:
    arguments = ["take", "desk_airport", "--policies", str(couplings)]
    env = {"PREBOOK_SUBSCRIBER_URL": subscriber_url("desk_airport", amqp_host)}
    first, second = (CliRunner().invoke(dispatch, arguments, env=env, catch_exceptions=False) for _ in range(2))
    (printed,) = map(json.loads, first.stdout.splitlines())
    assert (printed["id"], printed["ride"]["vehicle_class"], printed["ride"]["fare"]["cents"]) == (
        "b-airport.booking_confirmed",
        "xl",
        9_900,
    )
    assert (second.exit_code, second.stdout) == (0, "")


@pytest.fixture
async def published_with_others(subscriptions: RideSubscriptions, amqp_host: str) -> None:
    """Publish another event, a ride that names no sender, and a ride, all of them for the queue of unroutable rides."""
    await publish(amqp_host, ended_booking())
    await publish(amqp_host, RIDES["b-nowhere"], names_sender=False)
    await publish(amqp_host, RIDES["b-nowhere"])


@pytest.mark.usefixtures("published_with_others")
def test_what_is_no_ride_or_does_not_name_its_sender_is_rejected_and_delays_no_ride(
    couplings: Path, amqp_host: str
) -> None:
    arguments = ["take", "dispatch", "--policies", str(couplings)]
    env = {"PREBOOK_SUBSCRIBER_URL": subscriber_url("dispatch", amqp_host)}
    taken = CliRunner().invoke(dispatch, arguments, env=env, catch_exceptions=False)
    assert [json.loads(line)["id"] for line in taken.stdout.splitlines()] == [RIDES["b-nowhere"].id]
    assert taken.stderr.count("is no confirmed ride: ") == 2
    assert "a message without user_id may not confirm rides" in taken.stderr
