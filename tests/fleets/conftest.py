from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.postgres.engine import engine_for
from tests.matching.database import migrated


@pytest.fixture(scope="session")
def fleets_url() -> Iterator[str]:
    with migrated("fleets") as url:
        yield url


@pytest.fixture
async def engine(fleets_url: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_for("fleets", fleets_url, overflow=20)
    yield engine
    await engine.dispose()
