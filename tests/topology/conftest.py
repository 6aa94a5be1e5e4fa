"""A real broker's management API, where the environment names one.

It must be a broker for tests alone: users belong to the whole broker, and these tests delete and change them.
"""

import os
from collections.abc import AsyncIterator

import pytest

from prebook.flows import SERVICES
from prebook.rabbit.management import Management
from prebook.topology.model import suite_topology
from prebook.topology.values import Topology

VHOST = "prebook-topology-test"
ADMINISTRATOR = (
    os.environ.get("PREBOOK_TEST_MANAGEMENT_USER", "guest"),
    os.environ.get("PREBOOK_TEST_MANAGEMENT_PASSWORD", "guest"),
)
PASSWORDS = {service: f"password of {service}" for service in SERVICES}


@pytest.fixture(scope="session")
def management_url() -> str:
    url = os.environ.get("PREBOOK_TEST_MANAGEMENT_URL")
    if not url:
        pytest.skip("PREBOOK_TEST_MANAGEMENT_URL names no broker")
    return url


@pytest.fixture(scope="session")
def amqp_host() -> str:
    """``host:port`` of the same broker."""
    return os.environ.get("PREBOOK_TEST_AMQP", "127.0.0.1:5672")


@pytest.fixture(scope="session")
def suite() -> Topology:
    return suite_topology({0.2, 1.0})


@pytest.fixture
async def broker(management_url: str) -> AsyncIterator[Management]:
    """In a virtual host of its own, which is gone afterwards."""
    async with Management(management_url, *ADMINISTRATOR, vhost=VHOST) as broker:
        await broker._answer("DELETE", f"vhosts/{VHOST}")
        yield broker
        await broker._answer("DELETE", f"vhosts/{VHOST}")
