"""How long what is kept in case it comes again is kept, and why so long. All in seconds."""

from prebook.postgres.purge import PURGE_ABANDONED, PURGE_INBOX, PURGE_SENT, PurgeRule

DAY_S = 24 * 3600.0

INBOX_DEDUP_S = 7 * DAY_S
"""So long can everybody rely on a receiver's inbox: a replay, of parked messages, from the archive or out of an outbox,
refuses what was said before that, unless it is forced."""
RETENTION_MARGIN_S = DAY_S
"""Rows stay a day longer than anybody relies on them: a replay judges a message's age when it is asked for, and sends
it later; clocks differ; and a purge takes what is due in bites."""
INBOX_RETENTION_S = INBOX_DEDUP_S + RETENTION_MARGIN_S

OUTBOX_DEDUP_S = DAY_S
"""Rows of the outbox that were sent: the window of producer dedup, unless PREBOOK_OUTBOX_DEDUP_S says otherwise. What
was sent may be looked at as long."""
MAX_OUTBOX_DEDUP_S = INBOX_DEDUP_S
"""A window past the inboxes' memory would promise what a second net no longer backs."""
ENDED_RETENTION_S = INBOX_RETENTION_S
"""Rows that expired or were discarded. Nobody waits for them, and sending them again would be refused by then. What
could not be delivered stays until somebody decides: it is never purged."""


def common_purges(outbox_dedup_s: float) -> tuple[PurgeRule, ...]:
    """What every service forgets. ``dedup_s``: the window of producer dedup."""
    return (
        PurgeRule(PURGE_SENT, outbox_dedup_s),
        PurgeRule(PURGE_ABANDONED, ENDED_RETENTION_S),
        PurgeRule(PURGE_INBOX, INBOX_RETENTION_S),
    )
