"""Retention periods, in seconds, of deduplication and replay data, with their reasons."""

from prebook.postgres.claim_store import PURGE_EXPIRED_BODIES
from prebook.postgres.purge import PURGE_ABANDONED, PURGE_INBOX, PURGE_SENT, PurgeRule

DAY_S = 24 * 3600.0

INBOX_DEDUP_S = 7 * DAY_S
"""Deduplication window that every receiver's inbox guarantees. For a replay of parked messages, of the
archive or of outbox rows, older messages are ineligible unless it is forced."""
RETENTION_MARGIN_S = DAY_S
"""Inbox rows outlive the window by a day: a replay checks a message's age when it is requested and sends it later,
clocks differ, and a purge deletes rows in batches."""
INBOX_RETENTION_S = INBOX_DEDUP_S + RETENTION_MARGIN_S

OUTBOX_DEDUP_S = DAY_S
"""Retention of sent outbox rows: the deduplication window of producers. PREBOOK_OUTBOX_DEDUP_S overrides it."""
MAX_OUTBOX_DEDUP_S = INBOX_DEDUP_S
"""Longest deduplication window of producers: beyond it the inboxes no longer back it up."""
ENDED_RETENTION_S = INBOX_RETENTION_S
"""Retention of expired and discarded outbox rows. No caller waits for them, and they are ineligible by then.
Undeliverable rows are never purged: they stay until an operator decides."""


def common_purges(outbox_dedup_s: float) -> tuple[PurgeRule, ...]:
    """Purge rules of every service. ``outbox_dedup_s``: deduplication window of producers, in seconds."""
    return (
        PurgeRule(PURGE_SENT, outbox_dedup_s),
        PurgeRule(PURGE_ABANDONED, ENDED_RETENTION_S),
        PurgeRule(PURGE_INBOX, INBOX_RETENTION_S),
        PURGE_EXPIRED_BODIES,
    )
