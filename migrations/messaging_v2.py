"""Order and fencing for the outbox: which rows stay in order, who holds a claim, and how a claim is made.

Frozen as of the revisions that use it. Claims of one service come one after the other (the advisory lock), and a
function's statements see what was committed before them, so that no relay can overlook what another has just claimed.
"""

from alembic import op

UPGRADE = (
    "ALTER TABLE {service}.outbox ADD COLUMN order_key text NOT NULL DEFAULT '', ADD COLUMN claimed_by text",
    "CREATE INDEX outbox_order ON {service}.outbox (lane, order_key, seq) WHERE state = 'waiting'",
    """
    CREATE FUNCTION {service}.claim_outbox(owner text, most int, lease interval, full_lanes text[])
    RETURNS TABLE (seq bigint, lane text, wire text, failures int, order_key text) LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('{service}.outbox'));
        RETURN QUERY
        UPDATE {service}.outbox AS claimed SET claimed_until = now() + lease, claimed_by = owner
        WHERE claimed.seq IN (
            SELECT due.seq FROM {service}.outbox AS due
            WHERE due.state = 'waiting' AND due.not_before <= now()
                AND (due.claimed_until IS NULL OR due.claimed_until < now())
                AND due.lane <> ALL (full_lanes)
                -- What is under way, or waits for another try, holds back what comes after it.
                AND NOT EXISTS (
                    SELECT FROM {service}.outbox AS before
                    WHERE before.state = 'waiting' AND before.lane = due.lane AND before.order_key = due.order_key
                        AND before.seq < due.seq
                        AND (before.claimed_until >= now() OR (before.failures > 0 AND before.not_before > now())))
            ORDER BY due.seq LIMIT most)
        RETURNING claimed.seq, claimed.lane, claimed.wire, claimed.failures, claimed.order_key;
    END $$""",
)
DOWNGRADE = (
    "DROP FUNCTION {service}.claim_outbox",
    "DROP INDEX {service}.outbox_order",
    "ALTER TABLE {service}.outbox DROP COLUMN order_key, DROP COLUMN claimed_by",
)


def upgrade(service: str) -> None:
    for statement in UPGRADE:
        op.execute(statement.format(service=service))


def downgrade(service: str) -> None:
    for statement in DOWNGRADE:
        op.execute(statement.format(service=service))
