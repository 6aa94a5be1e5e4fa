"""Statements of a unit of work on stored bodies; ``flush`` writes them, and ``claim_store`` deletes them."""

from sqlalchemy import text

# read_at tells bodies that were never read from those that were; a repeated read changes nothing.
READ_BODY = text("""
    WITH reading AS (UPDATE checked_body SET read_at = now() WHERE id = :id AND read_at IS NULL)
    SELECT kind, flow, body FROM checked_body WHERE id = :id""")
# In the order of the ids: two callers that extend the same bodies wait for each other, but never in a circle.
EXTEND_BODIES = text("""
    WITH known AS (
        SELECT id FROM checked_body WHERE id = ANY (CAST(:ids AS text[])) ORDER BY id FOR UPDATE),
    extended AS (
        UPDATE checked_body SET expires_at = greatest(expires_at, now() + CAST(:lifetime AS interval))
        FROM known WHERE checked_body.id = known.id)
    SELECT count(*) FROM known""")
