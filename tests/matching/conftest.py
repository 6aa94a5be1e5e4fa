from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.postgres.engine import create_engine
from tests.databases import Databases


@pytest.fixture(scope="session")
def matching_url(databases: Databases) -> str:
    return databases.create_for("matching")


@pytest.fixture
async def engine(matching_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine("matching", matching_url)
    yield engine
    await engine.dispose()
