"""Given-up rows of the outbox have a cause, an end and a way back; what was refused in a row is counted apart.

Frozen as of the revisions that use it. The claim is that of v2 and returns one column more.
"""

from alembic import op

CLAIM = """
    CREATE FUNCTION {service}.claim_outbox(owner text, most int, lease interval, full_lanes text[])
    RETURNS TABLE (seq bigint, lane text, wire text, failures int, order_key text, refusals int) LANGUAGE plpgsql AS $$
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
        RETURNING claimed.seq, claimed.lane, claimed.wire, claimed.failures, claimed.order_key, claimed.refusals;
    END $$"""

UPGRADE = (
    """
    ALTER TABLE {service}.outbox
        ADD COLUMN refusals int NOT NULL DEFAULT 0, ADD COLUMN cause text, ADD COLUMN ended_at timestamptz,
        DROP CONSTRAINT outbox_state_check""",
    """
    UPDATE {service}.outbox SET cause = CASE state WHEN 'expired' THEN 'expired' ELSE 'unknown' END, ended_at = now()
    WHERE state IN ('expired', 'undeliverable')""",
    """
    ALTER TABLE {service}.outbox
        ADD CONSTRAINT outbox_state_check
            CHECK (state IN ('waiting', 'sent', 'expired', 'undeliverable', 'discarded')),
        ADD CONSTRAINT outbox_given_up_check
            CHECK (state IN ('waiting', 'sent') OR (cause IS NOT NULL AND ended_at IS NOT NULL))""",
    "DROP INDEX {service}.outbox_given_up",
    """
    CREATE INDEX outbox_given_up ON {service}.outbox (state, cause, ended_at)
        WHERE state IN ('expired', 'undeliverable', 'discarded')""",
    "DROP FUNCTION {service}.claim_outbox",
    CLAIM,
    # At its usual pace a vacuum of a table that is turned over all the time never comes to its end.
    "ALTER TABLE {service}.outbox SET (autovacuum_vacuum_cost_delay = 0)",
)
DOWNGRADE = (
    "ALTER TABLE {service}.outbox RESET (autovacuum_vacuum_cost_delay)",
    "DROP INDEX {service}.outbox_given_up",
    "UPDATE {service}.outbox SET state = 'undeliverable' WHERE state = 'discarded'",
    """
    ALTER TABLE {service}.outbox
        DROP CONSTRAINT outbox_given_up_check, DROP CONSTRAINT outbox_state_check,
        DROP COLUMN refusals, DROP COLUMN cause, DROP COLUMN ended_at,
        ADD CONSTRAINT outbox_state_check CHECK (state IN ('waiting', 'sent', 'expired', 'undeliverable'))""",
    """
    CREATE INDEX outbox_given_up ON {service}.outbox (seq) WHERE state IN ('expired', 'undeliverable')""",
    "DROP FUNCTION {service}.claim_outbox",
    CLAIM.replace(", refusals int)", ")").replace(", claimed.refusals;", ";"),
)


def upgrade(service: str) -> None:
    for statement in UPGRADE:
        op.execute(statement.format(service=service))


def downgrade(service: str) -> None:
    for statement in DOWNGRADE:
        op.execute(statement.format(service=service))
