"""A claim that takes nothing behind a row of its own relay unless the relay knows that row, and goes by the clock.

A row can be its relay's without its knowing: a commit whose answer was lost may take effect later than the relay has
let go of what it did not know. And a claim that has waited for another one sees rows that were written after it began:
by ``now()`` they would not be due yet, and what comes behind them, written by a transaction that began earlier, would.
Frozen as of the revisions that use it.
"""

import messaging_v7
from alembic import op

CLAIM = """
    CREATE FUNCTION {service}.claim_outbox(
        owner text, most int, lease interval, full_lanes text[], known bigint[])
    RETURNS TABLE (seq bigint, lane text, wire text, failures int, order_key text, refusals int) LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
    DECLARE
        picked bigint[];
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('{service}.outbox'));
        picked := ARRAY(
            -- One moment for all rows, and not before they can be seen: what becomes due while they are looked at
            -- would let pass what comes behind it.
            WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS moment)
            SELECT due.seq FROM {service}.outbox AS due
            WHERE due.state = 'waiting' AND due.not_before <= (SELECT moment FROM clock)
                AND (due.claimed_until IS NULL OR due.claimed_until < (SELECT moment FROM clock))
                AND due.lane <> ALL (full_lanes)
                -- What somebody has under way, or what waits for another try, holds back what comes after it. Rows that
                -- are given up are neither; what this relay knows to have under way, it puts in line behind.
                AND NOT EXISTS (
                    SELECT FROM {service}.outbox AS before
                    WHERE before.sent_at IS NULL AND before.lane = due.lane AND before.order_key = due.order_key
                        AND before.seq < due.seq
                        AND ((before.claimed_until >= (SELECT moment FROM clock)
                                AND (before.claimed_by <> owner OR before.seq NOT IN (SELECT unnest(known))))
                            OR (before.failures > 0 AND before.not_before > (SELECT moment FROM clock)))
                    OFFSET 0)
            ORDER BY due.seq LIMIT most);
        RETURN QUERY
        UPDATE {service}.outbox AS claimed SET claimed_until = clock_timestamp() + lease, claimed_by = owner
        WHERE claimed.state = 'waiting' AND claimed.seq = ANY (picked)
        RETURNING claimed.seq, claimed.lane, claimed.wire, claimed.failures, claimed.order_key, claimed.refusals;
    END $$"""
DROP = "DROP FUNCTION {service}.claim_outbox"


def upgrade(service: str) -> None:
    for statement in (DROP, CLAIM):
        op.execute(statement.format(service=service))


def downgrade(service: str) -> None:
    for statement in (DROP, messaging_v7.CLAIM):
        op.execute(statement.format(service=service))
