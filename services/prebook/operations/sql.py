"""Parked messages and replays on PostgreSQL."""

from prebook.operations.sql_parked import ParkedSql
from prebook.operations.sql_replays import ReplaySql


class OperationsSql(ParkedSql, ReplaySql):
    """Both, in one transaction."""
