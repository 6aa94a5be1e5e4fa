from collections.abc import AsyncIterator, Mapping

import pytest

from prebook.operations.sql import OperationsSql
from prebook.postgres.engine import create_engine
from prebook.postgres.unit_of_work import unit_of_work_factory
from tests.databases import Databases, dispose_engine
from tests.operations.examples import Begin
from tests.walkthrough.adapter_world import AdapterWorld
from tests.world import MEMBERS


@pytest.fixture(scope="session")
def urls(databases: Databases) -> Mapping[str, str]:
    """Database of each service."""
    return {name: databases.create_for(name) for name in (*MEMBERS, "operations")}


@pytest.fixture
async def world(urls: Mapping[str, str]) -> AsyncIterator[AdapterWorld]:
    async with AdapterWorld(urls) as world:
        yield world


@pytest.fixture
async def begin(urls: Mapping[str, str]) -> AsyncIterator[Begin]:
    """Unit of work of operations."""
    engine = create_engine("operations", urls["operations"])
    yield unit_of_work_factory(engine, OperationsSql)
    await dispose_engine(engine)
