"""Generated resources on a real broker: what the operator declares of them is the model, and nothing else."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from prebook.devstack.broker import node
from prebook.devstack.broker.cluster import LocalBroker
from prebook.devstack.broker.installation import find_rabbitmq
from prebook.devstack.filesystem import create_data_dir
from prebook.devstack.servers import Broker
from prebook.kubernetes.suite_model import AUTOSCALED
from prebook.messaging.addresses import OBSERVER, VHOST, broker_user
from prebook.rabbit.management import ManagementClient
from prebook.topology.access import permissions, topic_permissions
from tests.kubernetes.manifests import COUPLINGS, rendered, suite_model
from tests.kubernetes.operator_client import reconcile

pytestmark = pytest.mark.real
TIMEOUT_S = 180.0
SEED = 2
START_TIMEOUT_S = 300.0
"""Seconds until the broker is ready on a machine that others use."""


@pytest.fixture
async def broker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Broker]:
    """A broker of this test. Its virtual host has the name that the resources say, as a suite's would."""
    installation = find_rabbitmq()
    if installation is None:
        pytest.skip("RabbitMQ is not installed on this machine")
    monkeypatch.setattr(node, "READY_TIMEOUT_S", START_TIMEOUT_S)
    with create_data_dir() as data_dir:
        server = LocalBroker(installation, data_dir, print)
        try:
            yield await server.start()
        finally:
            await server.stop()


def run_diff(broker: Broker) -> tuple[int, str]:
    """Run `prebook topology diff`; return exit status and output."""
    settings = {
        "PREBOOK_MANAGEMENT_URL": broker.management_url,
        "PREBOOK_MANAGEMENT_USER": broker.user,
        "PREBOOK_MANAGEMENT_PASSWORD": broker.password,
    }
    command = [sys.executable, "-m", "prebook.cli", "topology", "diff", "--policies", str(COUPLINGS)]
    result = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    return result.returncode, result.stdout + result.stderr


@pytest.mark.timeout(900)
async def test_a_broker_declared_from_the_resources_does_not_differ_from_the_model(broker: Broker) -> None:
    async with ManagementClient(broker.management_url, broker.user, broker.password) as management:
        assert await reconcile(management, rendered(AUTOSCALED.name), SEED) > 1, (
            "in a random order, some come too early"
        )
        assert run_diff(broker) == (0, "in sync\n")
        topology = suite_model().topology
        live = await management.read_live_broker()
        assert (live.exchanges, live.queues, live.bindings) == (topology.exchanges, topology.queues, topology.bindings)
        assert permissions(topology) <= live.permissions
        assert live.topic_permissions == topic_permissions(topology)
        assert live.user_tags[broker_user(OBSERVER)] == "management"
        await management._request("DELETE", f"queues/{VHOST}/booking.replies")
        status, output = run_diff(broker)
        assert (status, "missing queue booking.replies" in output) == (1, True)
