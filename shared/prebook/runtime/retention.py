"""How long what is kept in case it comes again is kept, and why so long. All in seconds."""

from prebook.postgres.purge import ENDED, INBOX, SENT, Purge

DAY_S = 24 * 3600.0

KEEP_INBOX_S = 7 * DAY_S
"""So long can everybody rely on a receiver's inbox: a replay, of parked messages, from the archive or out of an outbox,
refuses what was said before that, unless it is forced."""
MARGIN_S = DAY_S
"""Rows stay a day longer than anybody relies on them: a replay judges a message's age when it is asked for, and sends
it later; clocks differ; and a purge takes what is due in bites."""
PURGE_INBOX_S = KEEP_INBOX_S + MARGIN_S

KEEP_SENT_S = DAY_S
"""Rows of the outbox that were sent: the window of producer dedup, unless PREBOOK_OUTBOX_DEDUP_S says otherwise. What
was sent may be looked at as long."""
MOST_SENT_S = KEEP_INBOX_S
"""A window past the inboxes' memory would promise what a second net no longer backs."""
KEEP_ENDED_S = PURGE_INBOX_S
"""Rows that expired or were discarded. Nobody waits for them, and sending them again would be refused by then. What
could not be delivered stays until somebody decides: it is never purged."""


def common(dedup_s: float) -> tuple[Purge, ...]:
    """What every service forgets. ``dedup_s``: the window of producer dedup."""
    return (Purge(SENT, dedup_s), Purge(ENDED, KEEP_ENDED_S), Purge(INBOX, PURGE_INBOX_S))
