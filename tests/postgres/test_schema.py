"""The migrations create the tables that the services declare, and docs/reference/schema.sql shows what they create."""

import asyncpg
import pytest
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateSchema

from prebook.booking.sql import tables as booking
from prebook.fleets import tables as fleets
from prebook.flows import PROCESSES
from prebook.matching import tables as matching
from prebook.notification import tables as notification
from prebook.operations import tables as operations
from prebook.postgres.dsn import asyncpg_dsn
from prebook.pricing import tables as pricing
from tests.databases import Databases
from tests.postgres.schema_reference import REFERENCE, describe_database, describe_tables

METADATA = {
    "booking": booking.METADATA,
    "pricing": pricing.METADATA,
    "matching": matching.METADATA,
    "notification": notification.METADATA,
    "fleets": fleets.METADATA,
    "operations": operations.METADATA,
}


def test_every_service_declares_its_tables() -> None:
    assert METADATA.keys() == set(PROCESSES)


@pytest.mark.parametrize("service", METADATA)
async def test_the_declared_tables_are_those_of_the_migrations(databases: Databases, service: str) -> None:
    migrated, declared = databases.create_migrated(service), databases.create_empty()
    engine = create_async_engine(declared)
    async with engine.begin() as connection:
        await connection.run_sync(_create_all, METADATA[service])
    await engine.dispose()
    assert await _tables(declared, service) == await _tables(migrated, service)


async def test_the_reference_shows_the_database_after_all_migrations(databases: Databases) -> None:
    described = await describe_database(databases.create_migrated(*PROCESSES))
    assert described == REFERENCE.read_text(), "run `make schema`, which writes the reference again"


def _create_all(connection: Connection, metadata: MetaData) -> None:
    connection.execute(CreateSchema(str(metadata.schema)))
    metadata.create_all(connection)
    for table in metadata.tables.values():
        if parameters := table.info.get("storage"):
            assignments = ", ".join(f"{name} = {value:g}" for name, value in parameters.items())
            connection.exec_driver_sql(f"ALTER TABLE {table.fullname} SET ({assignments})")


async def _tables(url: str, schema: str) -> list[str]:
    connection = await asyncpg.connect(asyncpg_dsn(url))
    try:
        return (await describe_tables(connection, schema)).splitlines()
    finally:
        await connection.close()
