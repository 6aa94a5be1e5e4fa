"""Retention of notices and of the delivery log."""

from prebook.postgres.purge import PurgeRule, purge_statement
from prebook.runtime.retention import DAY_S

RETENTION_S = 30 * DAY_S
"""Retention of notices, in seconds. A notice may be redelivered for a week (the inbox deduplicates it that long, and
older ones are ineligible for a replay), and riders ask about their notices for some weeks. The text is personal data,
so it is deleted after that."""
PURGES = (
    # The log first: in the other order a log row could outlive the key that prevents a second delivery.
    PurgeRule(purge_statement("delivery", "delivered_at"), RETENTION_S),
    PurgeRule(purge_statement("notified", "notified_at"), RETENTION_S),
)
