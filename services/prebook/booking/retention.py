"""How long booking repeats an answer to a request that comes again."""

from prebook.postgres.purge import PurgeRule, purge_statement
from prebook.runtime.retention import INBOX_RETENTION_S

RETENTION_S = INBOX_RETENTION_S
"""As long as everything else may come again. The booking stays, and its key with it: who repeats a request after that
is told that the key is used, and books nothing."""
PURGES = (
    PurgeRule(purge_statement("claim", "claimed_at"), RETENTION_S),
    PurgeRule(purge_statement("token_window", "began"), RETENTION_S),
)
