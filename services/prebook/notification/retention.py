"""How long notification remembers whom it has told what."""

from prebook.postgres.purge import Purge, oldest
from prebook.runtime.retention import DAY_S

KEEP_S = 30 * DAY_S
"""A notice may come again for a week (the inbox knows it as long, and a replay refuses what is older), and riders ask
about what they were told for some weeks. It is text about a person: then it goes."""
PURGES = (
    # The log line first: were it the other way round, a line could outlive what keeps it single.
    Purge(oldest("delivery", "delivered_at"), KEEP_S),
    Purge(oldest("told", "told_at"), KEEP_S),
)
