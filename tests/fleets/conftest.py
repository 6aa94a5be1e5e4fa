from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.postgres.engine import create_engine
from tests.databases import Databases


@pytest.fixture(scope="session")
def fleets_url(databases: Databases) -> str:
    return databases.create_for("fleets")


@pytest.fixture
async def engine(fleets_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine("fleets", fleets_url, max_overflow=20)
    yield engine
    await engine.dispose()
