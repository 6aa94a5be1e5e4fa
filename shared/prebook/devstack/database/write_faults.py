"""Faults that keep a running PostgreSQL server from writing. The server answers all the time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg

from prebook.devstack.database.probe import CONNECT_TIMEOUT_S, NOT_READY_ERRORS
from prebook.devstack.errors import UserError
from prebook.devstack.supervisor.contract import WriteFault

LOCK_TIMEOUT_S = 10.0
RESET_TIMEOUT_S = 30.0
RETRY_INTERVAL_S = 0.2
WRITABLE = {"default_transaction_read_only": "off"}
OUTBOXES = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE tablename = 'outbox' ORDER BY 1"


def prevent_writes(fault: WriteFault, dsn: str) -> AbstractAsyncContextManager[None]:
    """Return a context manager that keeps all services from writing during its block.

    ``dsn``: URL of an administrator, as asyncpg takes it. Raises UserError if the fault cannot begin.
    """
    return WRITE_FAULTS[fault](dsn)


@asynccontextmanager
async def _make_read_only(dsn: str) -> AsyncIterator[None]:
    """Make the transactions of all sessions read-only, as on the old primary after a failover."""
    try:
        await _set_read_only(dsn, "SET default_transaction_read_only = on")
        yield
    finally:
        await _set_read_only(dsn, "RESET default_transaction_read_only")


async def _set_read_only(dsn: str, change: str) -> None:
    """Change the server's configuration and reload it; repeat while the server does not answer."""
    async with asyncio.timeout(RESET_TIMEOUT_S):
        while True:
            try:
                async with _connect(dsn) as connection:
                    await connection.execute(f"ALTER SYSTEM {change}")
                    await connection.execute("SELECT pg_reload_conf()")
            except NOT_READY_ERRORS:
                await asyncio.sleep(RETRY_INTERVAL_S)
            else:
                return


@asynccontextmanager
async def _lock_outboxes(dsn: str) -> AsyncIterator[None]:
    """Lock every outbox, as a migration does that waits for something else."""
    async with _connect(dsn) as connection, connection.transaction():
        outboxes = ", ".join(row[0] for row in await connection.fetch(OUTBOXES))
        try:
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S:g}s'")
            await connection.execute(f"LOCK TABLE {outboxes}")
        except asyncpg.PostgresError as error:
            raise UserError(f"the outboxes cannot be locked: {error}", "inject the fault again") from error
        yield


@asynccontextmanager
async def _connect(dsn: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, server_settings=WRITABLE)
    try:
        yield connection
    finally:
        await connection.close()


WRITE_FAULTS: Mapping[WriteFault, Callable[[str], AbstractAsyncContextManager[None]]] = {
    WriteFault.READ_ONLY: _make_read_only,
    WriteFault.LOCKED: _lock_outboxes,
}
