"""Unit of work of operations on PostgreSQL."""

from prebook.operations.dead_letters.sql import DeadLetterSql
from prebook.operations.replays.sql import ReplaySql


class OperationsSql(DeadLetterSql, ReplaySql):
    """Unit of work on dead letters and replays."""
