"""Fixtures of the real suite, a database with the tables of operations, and a queue of the tests at the broker."""

from collections.abc import AsyncIterator

import aio_pika
import pytest

from tests.integration.conftest import broker, control, database, operations, rider
from tests.integration.suite import Suite
from tests.operations.conftest import begin, engine, operations_url
from tests.operations.examples import Begin
from tests.operations.receivers import Receivers
from tests.traps.trap_queue import TrapQueue, open_trap_queue

__all__ = ["begin", "broker", "control", "database", "engine", "operations", "operations_url", "rider"]


@pytest.fixture
async def trap_queue(suite: Suite) -> AsyncIterator[TrapQueue]:
    async with (
        await aio_pika.connect(suite.state.amqp_url) as connection,
        open_trap_queue(connection, suite) as trap_queue,
    ):
        yield trap_queue


@pytest.fixture
def receivers(begin: Begin) -> Receivers:
    return Receivers(begin)
