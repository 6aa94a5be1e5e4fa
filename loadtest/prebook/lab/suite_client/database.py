"""Connections to the database of a suite, as its administrator.

Used by database judges only: the modules that read the services' private tables, chaos/database.py and
burst/backlog.py. The rest of the lab reads a suite over the wire. tests/architecture keeps the list of exceptions.
"""

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from prebook.devstack.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Connection = asyncpg.Connection[asyncpg.Record]

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 60.0
DATABASE_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
SEE_LOG = "see the log of the database"


class DatabaseUnreadable(UserError):
    """The suite's database could not be reached, or a query failed."""


@asynccontextmanager
async def connect(database_url: str) -> "AsyncIterator[Connection]":
    """Open a connection for the block and close it afterwards.

    ``database_url`` holds an administrator's credentials; a SQLAlchemy driver suffix is removed.

    Raises:
        DatabaseUnreadable: no connection within CONNECT_TIMEOUT_S.
    """
    dsn = database_url.replace("postgresql+asyncpg://", "postgresql://", 1)
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, command_timeout=COMMAND_TIMEOUT_S)
    except DATABASE_ERRORS as error:
        raise DatabaseUnreadable(f"the database cannot be reached ({error})", SEE_LOG) from error
    try:
        yield connection
    finally:
        await connection.close()
