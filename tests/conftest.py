"""One suite for all tests with real parts: started when the first of them asks, stopped when the last has run."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import pytest

from tests.databases import Databases, served
from tests.integration import containers
from tests.integration.suite import Suite, started


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """PREBOOK_TEST_STACK=containers runs PostgreSQL and RabbitMQ by testcontainers; else `prebook up` finds its own.

    Back pressure is off: deadlines are short here, so that it would refuse what is to be seen surviving a fault. It is
    tried on a suite of its own.
    """
    home = tmp_path_factory.mktemp("suite") / "home"
    with _stack() as stack, started({**stack, "PREBOOK_BACK_PRESSURE": "off"}, home) as suite:
        yield suite


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    with served() as databases:
        yield databases


def _stack() -> AbstractContextManager[Mapping[str, str]]:
    wanted = os.environ.get("PREBOOK_TEST_STACK", "")
    return containers.started() if wanted == "containers" else nullcontext({})


ROUNDS = ("test_faults.py", "test_fault_catalogue.py", "test_logs.py")
"""After all others, in this order: what breaks the suite, and what looks at all that it has written."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs no parts first; within a round, as they stand."""
    items.sort(key=_round)


def _round(item: pytest.Item) -> tuple[bool, int]:
    name = item.path.name
    return bool(item.get_closest_marker("real")), ROUNDS.index(name) + 1 if name in ROUNDS else 0
