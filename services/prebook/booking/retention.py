"""Retention of idempotency records and token windows."""

from prebook.postgres.purge import PurgeRule, purge_statement
from prebook.runtime.retention import INBOX_RETENTION_S

RETENTION_S = INBOX_RETENTION_S
"""As long as a message may come again. The booking and its key stay: a client that repeats its request later is told
that the key is used, and books nothing."""
PURGES = (
    PurgeRule(purge_statement("idempotency_record", "created_at"), RETENTION_S),
    PurgeRule(purge_statement("token_window", "started_at"), RETENTION_S),
)
