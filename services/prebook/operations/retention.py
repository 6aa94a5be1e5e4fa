"""How long operations keeps what is done with. What is parked, or discarded, stays until somebody decides."""

from sqlalchemy import text

from prebook.postgres.purge import PurgeRule
from prebook.runtime.retention import DAY_S

RETENTION_S = 30 * DAY_S
"""A resolved message may be parked once more for as long as its receiver may get it again, a week; and whoever replayed
it looks at what came of it."""
# Resolved by its receiver's inbox, which some replay has seen: that replay's item says when.
DELETE_RESOLVED = text("""
    DELETE FROM parked WHERE id = ANY (ARRAY(
        SELECT p.id FROM parked p
        WHERE p.state = 'resolved' AND p.last_failed_at < now() - make_interval(secs => :keep_s)
            AND NOT EXISTS (
                SELECT FROM replay_item i
                WHERE i.parked_id = p.id AND i.settled_at >= now() - make_interval(secs => :keep_s))
        ORDER BY p.last_failed_at LIMIT :limit FOR UPDATE SKIP LOCKED))""")
DELETE_EMPTY_REPLAYS = text("""
    DELETE FROM replay WHERE id = ANY (ARRAY(
        SELECT r.id FROM replay r
        WHERE r.created_at < now() - make_interval(secs => :keep_s)
            AND r.ended_at < now() - make_interval(secs => :keep_s)
            AND NOT EXISTS (SELECT FROM replay_item i WHERE i.replay_id = r.id)
        ORDER BY r.created_at LIMIT :limit FOR UPDATE SKIP LOCKED))""")
PURGES = (PurgeRule(DELETE_RESOLVED, RETENTION_S), PurgeRule(DELETE_EMPTY_REPLAYS, RETENTION_S))
