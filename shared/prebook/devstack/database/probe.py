"""Probe of a PostgreSQL server: readiness and version."""

import contextlib

import asyncpg

from prebook.devstack.errors import UserError
from prebook.devstack.servers import Database
from prebook.postgres.dsn import asyncpg_dsn

CONNECT_TIMEOUT_S = 5.0
NOT_READY_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class DatabaseProbe:
    """Probe of one server, which also creates the database ``create_database`` if one is named."""

    def __init__(self, url: str, create_database: str | None = None) -> None:
        self._url = url
        self._create_database = create_database
        self.version = ""
        self.error = ""

    async def is_ready(self) -> bool:
        """Connect once and return whether the server answers; ``version`` or ``error`` then holds the result."""
        try:
            await self._query()
        except NOT_READY_ERRORS as error:
            self.error = f"{type(error).__name__}: {error}".splitlines()[0]
        return bool(self.version)

    async def _query(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=CONNECT_TIMEOUT_S)
        try:
            if self._create_database:
                with contextlib.suppress(asyncpg.DuplicateDatabaseError):  # created by an interrupted attempt
                    await connection.execute(f'CREATE DATABASE "{self._create_database}"')
            self.version = str(await connection.fetchval("SHOW server_version")).split()[0]
        finally:
            await connection.close()


async def probe_external_database(url: str) -> Database:
    """Connect to an external server, ``postgresql+asyncpg://``. Raises UserError if it does not respond."""
    probe = DatabaseProbe(asyncpg_dsn(url))
    if not await probe.is_ready():
        raise UserError(
            f"no PostgreSQL answers at PREBOOK_DATABASE_URL ({probe.error})",
            "start that server, or correct the URL: postgresql+asyncpg://user:password@host:port/database, with a user "
            "who may create schemas and roles",
        )
    return Database(name="PostgreSQL", version=probe.version, url=url)
