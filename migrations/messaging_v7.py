"""A claim that costs the same whatever the statistics say.

Statistics that are gathered while everything is sent tell that nothing waits; then any index looks as good as the
right one, and claims out of a backlog of 20,000 were seen to read all of it once, or once for every row. So nothing is
left to choose: each part of a claim, and of marking what is sent, meets the condition of one index only, and what a row
has before it is looked up in a subquery that cannot be turned into a join (``OFFSET 0``). That index asks for
``sent_at``, which has to agree with ``state``.
Frozen as of the revisions that use it.
"""

import messaging_v6
from alembic import op

CLAIM = """
    CREATE FUNCTION {service}.claim_outbox(owner text, most int, lease interval, full_lanes text[])
    RETURNS TABLE (seq bigint, lane text, wire text, failures int, order_key text, refusals int) LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
    DECLARE
        picked bigint[];
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('{service}.outbox'));
        picked := ARRAY(
            SELECT due.seq FROM {service}.outbox AS due
            WHERE due.state = 'waiting' AND due.not_before <= now()
                AND (due.claimed_until IS NULL OR due.claimed_until < now())
                AND due.lane <> ALL (full_lanes)
                -- What another relay has under way, or what waits for another try, holds back what comes after it. Rows
                -- that are given up are neither; what this relay has under way, it puts in line behind.
                AND NOT EXISTS (
                    SELECT FROM {service}.outbox AS before
                    WHERE before.sent_at IS NULL AND before.lane = due.lane AND before.order_key = due.order_key
                        AND before.seq < due.seq
                        AND ((before.claimed_until >= now() AND before.claimed_by <> owner)
                            OR (before.failures > 0 AND before.not_before > now()))
                    OFFSET 0)
            ORDER BY due.seq LIMIT most);
        RETURN QUERY
        UPDATE {service}.outbox AS claimed SET claimed_until = now() + lease, claimed_by = owner
        WHERE claimed.state = 'waiting' AND claimed.seq = ANY (picked)
        RETURNING claimed.seq, claimed.lane, claimed.wire, claimed.failures, claimed.order_key, claimed.refusals;
    END $$"""

UPGRADE = (
    """
    ALTER TABLE {service}.outbox
        ADD CONSTRAINT outbox_sent_check CHECK ((state = 'sent') = (sent_at IS NOT NULL))""",
    "DROP INDEX {service}.outbox_order",
    "CREATE INDEX outbox_order ON {service}.outbox (lane, order_key, seq) WHERE sent_at IS NULL",
    "DROP FUNCTION {service}.claim_outbox",
    CLAIM,
)
DOWNGRADE = (
    "DROP FUNCTION {service}.claim_outbox",
    "DROP INDEX {service}.outbox_order",
    "CREATE INDEX outbox_order ON {service}.outbox (lane, order_key, seq) WHERE state <> 'sent'",
    messaging_v6.CLAIM,
    "ALTER TABLE {service}.outbox DROP CONSTRAINT outbox_sent_check",
)


def upgrade(service: str) -> None:
    for statement in UPGRADE:
        op.execute(statement.format(service=service))


def downgrade(service: str) -> None:
    for statement in DOWNGRADE:
        op.execute(statement.format(service=service))
