"""The schema is the same on the PostgreSQL of the compose file as on the embedded one, whose version is another."""

from collections.abc import Iterator

import pytest

from prebook.flows import PROCESSES
from tests.containers.composing import engine_answers
from tests.databases import Databases, psql_path
from tests.integration.containers import start_database
from tests.postgres import test_schema

pytestmark = [pytest.mark.containers, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def databases() -> Iterator[Databases]:
    if not engine_answers():
        pytest.skip("no Docker engine with Compose answers here; `docker compose ls` says why")
    with start_database() as url:
        yield Databases(psql_path(), url)


@pytest.mark.parametrize("service", PROCESSES)
async def test_the_declared_tables_are_those_of_the_migrations(databases: Databases, service: str) -> None:
    await test_schema.test_the_declared_tables_are_those_of_the_migrations(databases, service)


async def test_the_reference_shows_the_database_after_all_migrations(databases: Databases) -> None:
    await test_schema.test_the_reference_shows_the_database_after_all_migrations(databases)
