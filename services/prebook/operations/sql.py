"""Dead letters and replays on PostgreSQL."""

from prebook.operations.dead_letters.sql import DeadLetterSql
from prebook.operations.replays.sql import ReplaySql


class OperationsSql(DeadLetterSql, ReplaySql):
    """Dead letters and replays in one transaction."""
