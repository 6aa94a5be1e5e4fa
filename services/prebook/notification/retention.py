"""How long notification remembers whom it has told what."""

from prebook.postgres.purge import PurgeRule, purge_statement
from prebook.runtime.retention import DAY_S

RETENTION_S = 30 * DAY_S
"""A notice may come again for a week (the inbox knows it as long, and a replay refuses what is older), and riders ask
about what they were told for some weeks. It is text about a person: then it goes."""
PURGES = (
    # The log line first: were it the other way round, a line could outlive what keeps it single.
    PurgeRule(purge_statement("delivery", "delivered_at"), RETENTION_S),
    PurgeRule(purge_statement("told", "told_at"), RETENTION_S),
)
