"""Outages of the database: errors that are no fault of the message or request that meets them.

A database can answer and still not do its work: it is read-only after a failover, its disk is full, a lock or a
statement takes too long, or its schema is being changed. Every access to the database decides by ``outage_of``, so
that a message keeps its attempts and a rider gets 503 in each of these cases.
Source: PostgreSQL, Appendix A, "PostgreSQL Error Codes".
"""

from collections.abc import Mapping
from typing import NamedTuple

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError


class Outage(NamedTuple):
    """State of a database that does not do its work."""

    reason: str
    """One clause for readers of ``/readyz`` and of logs, without values."""
    refuses_writes: bool = True
    """Whether the database answers and cannot do its work; False if the connection is lost or a transaction lost."""
    is_conflict: bool = False
    """Whether the transaction lost against another one and succeeds when it is repeated at once."""
    outdates_connections: bool = False
    """Whether other open connections are of no use either, while a new one may be."""


LOST = Outage("the connection to the database is lost", refuses_writes=False)
CONFLICT = Outage("the transaction conflicts with another one", refuses_writes=False, is_conflict=True)
READ_ONLY = Outage("the database is read-only and accepts no writes", outdates_connections=True)
SCHEMA_CHANGED = Outage("the schema of the database was changed under an open connection", outdates_connections=True)
STATEMENTS_GONE = Outage(
    "the prepared statements of the connection are gone", refuses_writes=False, outdates_connections=True
)
CORRUPTED = Outage("the database reports corrupted data")
WRONG_SCHEMA = Outage("the schema or the privileges of the database do not fit this version", outdates_connections=True)
OUTAGES: Mapping[str, Outage] = {
    "08": LOST,
    "25006": READ_ONLY,
    "25P03": LOST,
    "25P04": Outage("a transaction of the database took too long"),
    "26000": STATEMENTS_GONE,
    "40": CONFLICT,
    "53": Outage("the database lacks resources"),
    "53100": Outage("the disk of the database is full"),
    "53200": Outage("the database is out of memory"),
    "53300": Outage("the database has too many connections"),
    "55": Outage("an object of the database is in use or not in the required state"),
    "55P03": Outage("a lock in the database was not granted in time"),
    "57": Outage("the database was stopped by an operator", refuses_writes=False),
    "57014": Outage("a statement of the database took too long or was cancelled"),
    "58": Outage("the operating system of the database reports an error"),
    "72": Outage("a transaction of the database took too long"),
    "F0": Outage("the configuration of the database is wrong"),
    "XX001": CORRUPTED,
    "XX002": CORRUPTED,
    # Statements are part of the code and the same for every message, so none of these is the fault of one message.
    "3F": WRONG_SCHEMA,
    "42": WRONG_SCHEMA,
}
"""SQLSTATE, or its class (two characters), to the outage. Any other state is the fault of the message."""
SCHEMA_ERRORS = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
CLIENT_ERRORS = (asyncpg.InterfaceError, asyncpg.InternalClientError)
DATABASE_ERRORS = (asyncpg.PostgresError, *CLIENT_ERRORS, DBAPIError, ConnectionError)
"""Errors that ``outage_of`` knows; all others belong to the caller."""


def outage_of(error: BaseException) -> Outage | None:
    """Return the outage that the error reports; None if it is the fault of the message or of the statement."""
    if isinstance(error, DBAPIError):
        return _outage_of_adapted(error)
    if isinstance(error, SCHEMA_ERRORS):
        return SCHEMA_CHANGED
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return READ_ONLY
    if isinstance(error, asyncpg.PostgresError):
        return outage_of_state(error.sqlstate)
    # A parameter that the driver cannot encode is an InterfaceError, and a ValueError, too.
    is_lost = isinstance(error, (*CLIENT_ERRORS, ConnectionError)) and not isinstance(error, ValueError)
    return LOST if is_lost else None


def outage_of_state(sqlstate: str | None) -> Outage | None:
    """Return the outage of a SQLSTATE, such as ``53100``; None if the state is none of an outage."""
    state = sqlstate or ""
    return OUTAGES.get(state) or OUTAGES.get(state[:2])


def _outage_of_adapted(error: DBAPIError) -> Outage | None:
    """Return the outage of the driver's error, which SQLAlchemy has wrapped twice."""
    driver_error = getattr(error.orig, "__cause__", None)
    outage = outage_of(driver_error) if driver_error is not None else None
    is_lost = error.connection_invalidated or (driver_error is None and isinstance(error, InterfaceError))
    return outage or (LOST if is_lost else None)
