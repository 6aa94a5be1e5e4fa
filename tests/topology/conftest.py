"""Fixtures: the broker of the suite, with a virtual host and users of these tests only, which delete both."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from prebook.messaging import addresses
from prebook.rabbit.management import ManagementClient
from prebook.topology.access import ACCOUNTS
from prebook.topology.model import suite_topology
from prebook.topology.values import Topology
from tests.integration.suite import Suite

VHOST = "prebook-topology-test"
PASSWORDS = {service: f"password of {service}" for service in ACCOUNTS}


@pytest.fixture(scope="session")
def management_url(suite: Suite) -> str:
    return suite.state.management_url


@pytest.fixture(scope="session")
def amqp_host(suite: Suite) -> str:
    """``host:port`` of the same broker."""
    return urlsplit(suite.state.amqp_url).netloc.rpartition("@")[2]


@pytest.fixture(scope="session")
def administrator(suite: Suite) -> tuple[str, str]:
    """Name and password of the broker's administrator."""
    return suite.state.management_user, suite.state.management_password


@pytest.fixture(scope="session")
def model() -> Topology:
    return suite_topology({0.2, 1.0})


@pytest.fixture
async def broker(
    management_url: str, administrator: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ManagementClient]:
    monkeypatch.setattr(addresses, "broker_user", lambda service: f"topology_test_{service}")
    test_paths = (f"vhosts/{VHOST}", *(f"users/{addresses.broker_user(service)}" for service in ACCOUNTS))
    async with ManagementClient(management_url, *administrator, vhost=VHOST) as broker:
        for path in test_paths:
            await broker._request("DELETE", path)
        yield broker
        for path in test_paths:
            await broker._request("DELETE", path)
