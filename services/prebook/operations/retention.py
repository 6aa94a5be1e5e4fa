"""Retention of settled dead letters and replays. Parked and discarded messages are kept until an operator decides."""

from sqlalchemy import text

from prebook.contracts.dead_letters import DeadLetterState
from prebook.postgres.purge import PurgeRule
from prebook.postgres.state_literals import with_states
from prebook.runtime.retention import DAY_S

RETENTION_S = 30 * DAY_S
"""Longer than the week within which a receiver may get a resolved message again and park it; operators also read the
results of their replays."""
# A replay resolved the message, so the settled redelivery has the time.
DELETE_RESOLVED = text(
    with_states(
        """
    DELETE FROM dead_letter WHERE id = ANY (ARRAY(
        SELECT d.id FROM dead_letter d
        WHERE d.state = {RESOLVED} AND d.last_failed_at < now() - make_interval(secs => :retention_s)
            AND NOT EXISTS (
                SELECT FROM redelivery rd
                WHERE rd.dead_letter_id = d.id AND rd.settled_at >= now() - make_interval(secs => :retention_s))
        ORDER BY d.last_failed_at LIMIT :limit FOR UPDATE SKIP LOCKED))""",
        DeadLetterState,
    )
)
DELETE_EMPTY_REPLAYS = text("""
    DELETE FROM replay WHERE id = ANY (ARRAY(
        SELECT r.id FROM replay r
        WHERE r.created_at < now() - make_interval(secs => :retention_s)
            AND r.ended_at < now() - make_interval(secs => :retention_s)
            AND NOT EXISTS (SELECT FROM redelivery rd WHERE rd.replay_id = r.id)
        ORDER BY r.created_at LIMIT :limit FOR UPDATE SKIP LOCKED))""")
PURGES = (PurgeRule(DELETE_RESOLVED, RETENTION_S), PurgeRule(DELETE_EMPTY_REPLAYS, RETENTION_S))
