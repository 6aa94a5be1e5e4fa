"""Whether a PostgreSQL server answers, and which one it is."""

import contextlib

import asyncpg

from prebook.devstack.errors import Trouble
from prebook.devstack.servers import Database

CONNECT_WITHIN_S = 5.0
NOT_YET = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class DatabaseProbe:
    """Asks for the version; creates the database ``create`` too, where one is named."""

    def __init__(self, url: str, create: str | None = None) -> None:
        self._url, self._create = url, create
        self.version = ""
        self.error = ""

    async def holds(self) -> bool:
        try:
            await self._ask()
        except NOT_YET as error:
            self.error = f"{type(error).__name__}: {error}".splitlines()[0]
        return bool(self.version)

    async def _ask(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=CONNECT_WITHIN_S)
        try:
            if self._create:
                with contextlib.suppress(asyncpg.DuplicateDatabaseError):  # from a try that broke off
                    await connection.execute(f'CREATE DATABASE "{self._create}"')
            self.version = str(await connection.fetchval("SHOW server_version")).split()[0]
        finally:
            await connection.close()


async def existing(url: str) -> Database:
    """A server of somebody else, ``postgresql+asyncpg://``. Raises Trouble where it does not answer."""
    probe = DatabaseProbe(url.replace("+asyncpg", "", 1))
    if not await probe.holds():
        raise Trouble(
            f"no PostgreSQL answers at PREBOOK_DATABASE_URL ({probe.error})",
            "start that server, or correct the URL: postgresql+asyncpg://user:password@host:port/database, with a user "
            "who may create schemas and roles",
        )
    return Database(name="PostgreSQL", version=probe.version, url=url)
