"""One suite for all tests with real parts: started when the first of them asks, stopped when the last has run."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import pytest

from tests.integration import containers
from tests.integration.suite import Suite, started


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """PREBOOK_TEST_STACK=containers runs PostgreSQL and RabbitMQ by testcontainers; else `prebook up` finds its own."""
    home = tmp_path_factory.mktemp("suite") / "home"
    with _stack() as stack, started(stack, home) as suite:
        yield suite


def _stack() -> AbstractContextManager[Mapping[str, str]]:
    wanted = os.environ.get("PREBOOK_TEST_STACK", "")
    return containers.started() if wanted == "containers" else nullcontext({})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs no parts first, what breaks them last; within that, as they stand."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[bool, bool]:
    return bool(item.get_closest_marker("real")), item.path.name.startswith("test_fault")
