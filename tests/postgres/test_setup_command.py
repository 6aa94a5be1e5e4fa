"""`prebook setup --database-only`: schemas and roles of an empty database, without a broker."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from prebook.cli.setup import setup
from prebook.devstack.errors import UserError
from prebook.flows import PROCESSES
from tests.databases import PASSWORDS, TIMEOUT_S, Databases, run_server

ROLE_LIMIT = "135"


async def read_role_limits(url: str) -> dict[str, int]:
    """Return the maximum number of connections of each service's role."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            rows = await connection.execute(
                text("SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname ~ '^prebook_'")
            )
            return {row.rolname: row.rolconnlimit for row in rows}
    finally:
        await engine.dispose()


async def test_it_needs_no_broker_and_a_second_run_changes_nothing(databases: Databases, tmp_path: Path) -> None:
    url = databases.create_empty()
    settings = {
        "PREBOOK_HOME": str(tmp_path),
        "PREBOOK_DATABASE_URL": url,
        "PREBOOK_ROLE_PASSWORDS": PASSWORDS,
        "PREBOOK_ROLE_CONNECTIONS": ROLE_LIMIT,
    }
    for _ in range(2):
        run_setup(settings)
        limits = await read_role_limits(url)
        assert {f"prebook_{service}": int(ROLE_LIMIT) for service in PROCESSES}.items() <= limits.items()


@pytest.mark.database
def test_the_owner_of_a_database_needs_no_more_than_createrole(tmp_path: Path) -> None:
    """CloudNativePG gives it no superuser's rights. The server is new: roles that others have made refuse it."""
    with run_server() as databases:
        admin_url = databases.create_empty()
        database = admin_url.partition("?")[0].rpartition("/")[2]
        databases._sql("CREATE ROLE prebook_setup LOGIN CREATEROLE")
        databases._sql(f"ALTER DATABASE {database} OWNER TO prebook_setup")
        settings = {
            "PREBOOK_HOME": str(tmp_path),
            "PREBOOK_DATABASE_URL": admin_url.replace("postgres@", "prebook_setup@", 1),
            "PREBOOK_ROLE_PASSWORDS": PASSWORDS,
        }
        for _ in range(2):
            run_setup(settings)


def run_setup(settings: dict[str, str]) -> None:
    """Run the command as a process: it has an event loop and signal handlers of its own."""
    command = [sys.executable, "-m", "prebook.cli", "setup", "--database-only"]
    result = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "the broker was left alone" in result.stdout


def test_without_the_option_the_broker_is_named_as_missing() -> None:
    settings = {"PREBOOK_DATABASE_URL": "postgresql+asyncpg://a@b/c", "PREBOOK_ROLE_PASSWORDS": json.dumps({})}
    result = CliRunner().invoke(setup, env=settings)
    assert isinstance(result.exception, UserError)
    assert "PREBOOK_MANAGEMENT_URL" in result.exception.problem
