"""How long pricing remembers what became of a booking's share."""

from prebook.postgres.purge import PurgeRule, purge_statement
from prebook.runtime.retention import DAY_S, INBOX_RETENTION_S

CANCELLABLE_S = 366 * DAY_S
"""A ride may be booked that far ahead, and cancelled until then: its share must still be there to be given back."""
PURGES = (
    # What is over may be asked, and told to be over, once more for as long as a message may come again.
    PurgeRule(purge_statement("share", "at", "state <> 'taken'"), INBOX_RETENTION_S),
    PurgeRule(purge_statement("share", "at", "state = 'taken'"), CANCELLABLE_S + INBOX_RETENTION_S),
)
