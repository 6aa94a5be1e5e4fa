"""Declaring, comparing and repairing the topology of a real broker, in a virtual host of these tests."""

import asyncio

import pytest

from prebook.flows import PROCESSES
from prebook.messaging import addresses
from prebook.rabbit.errors import BrokerRefused, BrokerUnreachable
from prebook.rabbit.management import ManagementClient
from prebook.topology.access import permissions
from prebook.topology.check import Drift, differences
from prebook.topology.values import Queue, Topology, arguments
from tests.topology.conftest import PASSWORDS, VHOST

pytestmark = pytest.mark.real
DEADLINE_S = 20.0
QUEUE = addresses.request_queue("pricing", "quote_fare")


async def test_declaring_is_idempotent_and_brings_the_broker_in_sync(broker: ManagementClient, model: Topology) -> None:
    assert {d.drift for d in differences(model, await broker.read_live_broker(), frozenset({broker.user}))} == {
        Drift.MISSING
    }
    for _ in range(2):
        steps: list[str] = []
        await broker.declare(model, PASSWORDS, steps.append)
        assert differences(model, await broker.read_live_broker(), frozenset({broker.user})) == []
        assert len(set(steps)) == len(steps) > len(model.queues) + len(model.bindings)


async def test_the_broker_applies_each_policy_to_its_queue(broker: ManagementClient, model: Topology) -> None:
    await broker.declare(model, PASSWORDS)
    async with asyncio.timeout(DEADLINE_S):
        while (effective := (await broker.read_live_broker()).effective_policies).keys() != {
            q.name for q in model.queues
        }:
            await asyncio.sleep(0.3)
    assert effective == {policy.name: policy.definition for policy in model.policies}


async def test_drift_of_a_live_broker_is_reported_and_repaired_by_declaring(
    broker: ManagementClient, model: Topology
) -> None:
    await broker.declare(model, PASSWORDS)
    await broker._request("DELETE", f"queues/{VHOST}/{QUEUE}")
    await broker._request("PUT", f"exchanges/{VHOST}/stray", json={"type": "fanout"})
    drift = differences(model, await broker.read_live_broker(), frozenset({broker.user}))
    assert {(d.drift, d.kind) for d in drift} == {
        (Drift.MISSING, "queue"),
        (Drift.MISSING, "binding"),
        (Drift.UNEXPECTED, "exchange"),
    }
    await broker.declare(model, {})
    assert [d.name for d in differences(model, await broker.read_live_broker(), frozenset({broker.user}))] == ["stray"]


async def test_an_unchangeable_queue_is_refused_with_the_reason_of_the_broker(
    broker: ManagementClient, model: Topology
) -> None:
    await broker.declare(model, PASSWORDS)
    other = Topology(queues=frozenset({Queue(QUEUE, arguments(x_queue_type="classic"))}))
    with pytest.raises(BrokerRefused, match=r"queue pricing\.requests\.quote_fare: 400 .*x-queue-type"):
        await broker.declare(other, {})


async def test_a_new_user_needs_a_password(broker: ManagementClient, model: Topology) -> None:
    for service in PROCESSES:
        await broker._request("DELETE", f"users/{addresses.broker_user(service)}")
    with pytest.raises(BrokerRefused, match="a new user needs a password: give one for archive_reader, booking"):
        await broker.declare(model, {})


async def test_users_have_the_models_permissions_and_no_tags(broker: ManagementClient, model: Topology) -> None:
    await broker.declare(model, PASSWORDS)
    live = await broker.read_live_broker()
    assert permissions(model) <= live.permissions
    assert not [
        live.user_tags[addresses.broker_user(service)]
        for service in PROCESSES
        if live.user_tags[addresses.broker_user(service)]
    ]


async def test_a_wrong_password_or_address_is_reported_with_a_remedy(
    management_url: str, administrator: tuple[str, str]
) -> None:
    async with ManagementClient(management_url, administrator[0], "wrong") as with_wrong_password:
        with pytest.raises(BrokerRefused, match="wrong user or password"):
            await with_wrong_password.read_live_broker()
    async with ManagementClient("http://127.0.0.1:1", "guest", "guest") as with_wrong_address:
        with pytest.raises(BrokerUnreachable, match="is it up"):
            await with_wrong_address.read_live_broker()
