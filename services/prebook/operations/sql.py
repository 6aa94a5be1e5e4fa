"""Parked messages and replays on PostgreSQL."""

from prebook.operations.dead_letters.sql import ParkedSql
from prebook.operations.replays.sql import ReplaySql


class OperationsSql(ParkedSql, ReplaySql):
    """Both, in one transaction."""
