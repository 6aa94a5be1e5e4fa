"""The schema is the same on the PostgreSQL of the compose file and on the embedded one, which has another version."""

from collections.abc import Iterator

import pytest

from prebook.flows import PROCESSES
from tests.containers.compose_project import is_engine_available
from tests.databases import Databases, psql_path
from tests.integration.containers import start_database
from tests.postgres import test_schema

pytestmark = [pytest.mark.containers, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def databases() -> Iterator[Databases]:
    if not is_engine_available():
        pytest.skip("no Docker engine with Compose is available; `docker compose ls` shows the reason")
    with start_database() as url:
        yield Databases(psql_path(), url)


@pytest.mark.parametrize("service", PROCESSES)
async def test_the_declared_tables_are_those_of_the_migrations(databases: Databases, service: str) -> None:
    await test_schema.test_the_declared_tables_are_those_of_the_migrations(databases, service)


async def test_the_reference_shows_the_database_after_all_migrations(databases: Databases) -> None:
    await test_schema.test_the_reference_shows_the_database_after_all_migrations(databases)
