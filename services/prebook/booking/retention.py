"""Retention of idempotency records and token windows."""

from prebook.postgres.purge import PurgeRule, purge_statement
from prebook.runtime.retention import INBOX_RETENTION_S

RETENTION_S = INBOX_RETENTION_S
"""Retention of idempotency records, in seconds: the period in which a message may be redelivered. The booking keeps its
key for longer: a client that repeats its request later gets 422 ``idempotency_key_used`` and books nothing."""
PURGES = (
    PurgeRule(purge_statement("idempotency_record", "created_at"), RETENTION_S),
    PurgeRule(purge_statement("token_window", "started_at"), RETENTION_S),
)
