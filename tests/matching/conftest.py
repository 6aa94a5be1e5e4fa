from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.postgres.engine import engine_for
from tests.matching.database import migrated


@pytest.fixture(scope="session")
def matching_url() -> Iterator[str]:
    with migrated("matching") as url:
        yield url


@pytest.fixture
async def engine(matching_url: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_for("matching", matching_url)
    yield engine
    await engine.dispose()
