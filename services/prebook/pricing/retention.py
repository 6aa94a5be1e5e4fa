"""Retention of discount grants."""

from prebook.postgres.purge import PurgeRule, purge_statement
from prebook.postgres.state_literals import with_states
from prebook.pricing.tables import DiscountState
from prebook.runtime.retention import DAY_S, INBOX_RETENTION_S

CANCELLABLE_S = 366 * DAY_S
"""Maximum lead time of a ride, in seconds; a cancellation until then returns its discount."""
PURGES = (
    # A grant that has ended is needed for as long as a quote or the end of the booking may be delivered again.
    PurgeRule(
        purge_statement("discount_grant", "updated_at", with_states("state <> {GRANTED}", DiscountState)),
        INBOX_RETENTION_S,
    ),
    PurgeRule(
        purge_statement("discount_grant", "updated_at", with_states("state = {GRANTED}", DiscountState)),
        CANCELLABLE_S + INBOX_RETENTION_S,
    ),
)
