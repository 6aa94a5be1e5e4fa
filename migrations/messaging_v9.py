"""A claim whose order a database's clock that is set back cannot change.

What is to leave at once has ``not_before`` as of its own writing. Where the clock was ahead then, it is not due for as
long as that, and what comes behind it, written by the right time, would leave first. So it is due whatever the clock
says; a try that has failed waits longer meanwhile, and holds back what comes after it as it always does.
Frozen as of the revisions that use it.
"""

import messaging_v8
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
            WHERE due.state = 'waiting'
                AND (due.not_before <= (SELECT moment FROM clock)
                    OR (due.failures = 0 AND due.not_before <= due.created_at))
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
    for statement in (DROP, messaging_v8.CLAIM):
        op.execute(statement.format(service=service))
