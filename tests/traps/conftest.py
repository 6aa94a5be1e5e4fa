"""The real suite's fixtures, operations' tables on a database of their own, and a queue of our own at the broker."""

from collections.abc import AsyncIterator

import aio_pika
import pytest

from tests.integration.conftest import broker, control, database, operations, rider
from tests.integration.suite import Suite
from tests.operations.conftest import begin, engine, operations_url
from tests.operations.examples import Begin
from tests.operations.receivers import Receivers
from tests.traps.place import Place, placed

__all__ = ["begin", "broker", "control", "database", "engine", "operations", "operations_url", "rider"]


@pytest.fixture
async def place(suite: Suite) -> AsyncIterator[Place]:
    async with await aio_pika.connect(suite.state.amqp_url) as connection, placed(connection, suite) as place:
        yield place


@pytest.fixture
def receivers(begin: Begin) -> Receivers:
    return Receivers(begin)
