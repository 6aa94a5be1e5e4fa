"""A claim whose plan cannot go wrong, and one index less for every row that is written.

An outbox is empty most of the time, and is planned for while it is: with no statistics to tell indexes apart, a claim
was seen to compare every waiting row with every other, and took seconds once there was a backlog. So each part of the
claim can use one index only: there is none on ``seq`` but that of the waiting rows, and the row comparison fits none
but that of the order. Frozen as of the revisions that use it.
"""

import messaging_v4
from alembic import op

CLAIM = """
    CREATE FUNCTION {service}.claim_outbox(owner text, most int, lease interval, full_lanes text[])
    RETURNS TABLE (seq bigint, lane text, wire text, failures int, order_key text, refusals int) LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
    SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    DECLARE
        picked bigint[];
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('{service}.outbox'));
        picked := ARRAY(
            SELECT due.seq FROM {service}.outbox AS due
            WHERE due.state = 'waiting' AND due.not_before <= now()
                AND (due.claimed_until IS NULL OR due.claimed_until < now())
                AND due.lane <> ALL (full_lanes)
                -- What is under way, or waits for another try, holds back what comes after it. Rows that are given up
                -- are neither.
                AND NOT EXISTS (
                    SELECT FROM {service}.outbox AS before
                    WHERE before.state <> 'sent' AND before.lane = due.lane AND before.order_key = due.order_key
                        AND (before.lane, before.order_key, before.seq) < (due.lane, due.order_key, due.seq)
                        AND (before.claimed_until >= now() OR (before.failures > 0 AND before.not_before > now())))
            ORDER BY due.seq LIMIT most);
        RETURN QUERY
        UPDATE {service}.outbox AS claimed SET claimed_until = now() + lease, claimed_by = owner
        WHERE claimed.state = 'waiting' AND claimed.seq = ANY (picked)
        RETURNING claimed.seq, claimed.lane, claimed.wire, claimed.failures, claimed.order_key, claimed.refusals;
    END $$"""

UPGRADE = (
    """
    ALTER TABLE {service}.outbox
        DROP CONSTRAINT outbox_pkey, DROP CONSTRAINT outbox_message_id_key, ADD PRIMARY KEY (message_id)""",
    "DROP INDEX {service}.outbox_order",
    "CREATE INDEX outbox_order ON {service}.outbox (lane, order_key, seq) WHERE state <> 'sent'",
    "DROP FUNCTION {service}.claim_outbox",
    CLAIM,
)
DOWNGRADE = (
    "DROP FUNCTION {service}.claim_outbox",
    "DROP INDEX {service}.outbox_order",
    "CREATE INDEX outbox_order ON {service}.outbox (lane, order_key, seq) WHERE state = 'waiting'",
    """
    ALTER TABLE {service}.outbox
        DROP CONSTRAINT outbox_pkey, ADD PRIMARY KEY (seq), ADD CONSTRAINT outbox_message_id_key UNIQUE (message_id)""",
    messaging_v4.CLAIM,
)


def upgrade(service: str) -> None:
    for statement in UPGRADE:
        op.execute(statement.format(service=service))


def downgrade(service: str) -> None:
    for statement in DOWNGRADE:
        op.execute(statement.format(service=service))
