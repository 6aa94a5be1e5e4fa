"""How long booking repeats an answer to a request that comes again."""

from prebook.postgres.purge import Purge, oldest
from prebook.runtime.retention import PURGE_INBOX_S

KEEP_S = PURGE_INBOX_S
"""As long as everything else may come again. The booking stays, and its key with it: who repeats a request after that
is told that the key is used, and books nothing."""
PURGES = (
    Purge(oldest("claim", "claimed_at"), KEEP_S),
    Purge(oldest("token_window", "began"), KEEP_S),
)
