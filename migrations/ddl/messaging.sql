-- What every service's schema has: its role and grants, inbox, outbox, pending_reply, blocked, key_lease,
-- claim_lock and claim_outbox. {schema} is the service's name. A statement ends with a semicolon that an empty line follows.

-- The role belongs to the cluster: another database may have made it already.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'prebook_{schema}') THEN
        CREATE ROLE prebook_{schema} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
    END IF;
END $$;

CREATE SCHEMA {schema};

GRANT USAGE ON SCHEMA {schema} TO prebook_{schema};

ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO prebook_{schema};

ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO prebook_{schema};

-- Deduplication: two deliveries of one message conflict on this primary key, and only one of them commits.
-- request and reply hold a request whose reply is pending, and the reply once it is known.
CREATE TABLE {schema}.inbox (
    message_id text PRIMARY KEY,
    flow text NOT NULL,
    conversation_id text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    request text,
    reply text
);

CREATE INDEX inbox_pending_request ON {schema}.inbox (conversation_id, flow)
    WHERE request IS NOT NULL AND reply IS NULL;

CREATE INDEX inbox_age ON {schema}.inbox (received_at);

-- Every row is updated twice (claimed, sent) and then purged. The free space on each page (fillfactor) keeps the updates
-- on it, and autovacuum starts early and does not pause: at its default pace a vacuum of a table that turns over all the
-- time never finishes.
-- One statement marks many rows as sent: they have one sent_at, and sent_position is the order of their confirms.
-- seq gives the order of sending. It has no index over all rows: the planner would prefer that index whenever the
-- statistics say that the table is empty, and a claim would then read every sent row.
CREATE TABLE {schema}.outbox (
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    message_id text PRIMARY KEY,
    kind text NOT NULL,
    flow text NOT NULL,
    conversation_id text NOT NULL,
    route text NOT NULL,
    message text NOT NULL,
    state text NOT NULL DEFAULT 'waiting',
    created_at timestamptz NOT NULL DEFAULT now(),
    not_before timestamptz NOT NULL,
    expires_at timestamptz,
    claimed_until timestamptz,
    sent_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    last_error text,
    ordering_key text NOT NULL DEFAULT '',
    claimed_by text,
    refusals integer NOT NULL DEFAULT 0,
    cause text,
    abandoned_at timestamptz,
    sent_position integer,
    CONSTRAINT outbox_state_check CHECK (state IN ('waiting', 'sent', 'expired', 'undeliverable', 'discarded')),
    CONSTRAINT outbox_sent_check CHECK ((state = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT outbox_abandoned_check
        CHECK (state IN ('waiting', 'sent') OR (cause IS NOT NULL AND abandoned_at IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0);

CREATE INDEX outbox_waiting ON {schema}.outbox (seq) WHERE state = 'waiting';

-- The condition is sent_at IS NULL and not a state: it is the only index whose condition the lookup of earlier rows in
-- claim_outbox implies, so the planner has no second index to choose. outbox_sent_check keeps state and sent_at in step.
CREATE INDEX outbox_ordering ON {schema}.outbox (route, ordering_key, seq) WHERE sent_at IS NULL;

CREATE INDEX outbox_abandoned ON {schema}.outbox (state, cause, abandoned_at)
    WHERE state IN ('expired', 'undeliverable', 'discarded');

CREATE INDEX outbox_sent ON {schema}.outbox (sent_at) WHERE state = 'sent';

-- Requests of this service whose reply is pending: due_at is the deadline, poll_at the next time to ask for the reply.
CREATE TABLE {schema}.pending_reply (
    request_id text PRIMARY KEY,
    flow text NOT NULL,
    conversation_id text NOT NULL,
    message text NOT NULL,
    due_at timestamptz NOT NULL,
    poll_at timestamptz,
    poll_count integer NOT NULL DEFAULT 0
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

CREATE INDEX pending_reply_due ON {schema}.pending_reply (due_at);

CREATE INDEX pending_reply_poll ON {schema}.pending_reply (poll_at) WHERE poll_at IS NOT NULL;

-- Messages of ordered flows that failed, and the later messages of their ordering keys that wait for them.
-- Only services with partitioned queues write to it. The others have it too: a flow becomes ordered without a migration.
-- The table is empty most of the time: autovacuum starts early, because statistics taken while it was full mislead.
CREATE TABLE {schema}.blocked (
    group_name text NOT NULL,
    message_id text NOT NULL,
    ordering_key text NOT NULL,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    message text NOT NULL,
    status text NOT NULL,
    due_at timestamptz NOT NULL,
    blocked_at timestamptz NOT NULL DEFAULT now(),
    error text NOT NULL,
    PRIMARY KEY (group_name, message_id),
    CONSTRAINT blocked_status_check CHECK (status IN ('waiting', 'parked'))
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX blocked_ordering ON {schema}.blocked (group_name, ordering_key, seq);

-- Keys of blocked whose waiting messages a replica is handling now. A row is a lease, which ends at held_until.
CREATE TABLE {schema}.key_lease (
    group_name text NOT NULL,
    ordering_key text NOT NULL,
    held_by text NOT NULL,
    held_until timestamptz NOT NULL,
    PRIMARY KEY (group_name, ordering_key)
);

-- Has no rows: claims lock the table itself. An advisory lock could be taken by every role of the database, and would then
-- stop the relays of this service.
CREATE TABLE {schema}.claim_lock ();

-- Lease up to max_rows waiting rows to owner, in the order of seq, so that no row overtakes an earlier one of its
-- ordering key on the same route. full_routes: routes without capacity; tracked: rows that owner knows it has leased.
--
-- Plan. The statistics say that no row waits, because the outbox is empty most of the time. With a free choice the
-- planner took any index, and a claim from a backlog of 20,000 rows read all of them, once or even once per row. So
-- there is nothing to choose: sequential scans, bitmap scans and sorts are off, each part of the function meets the
-- condition of exactly one index, and OFFSET 0 keeps the lookup of earlier rows from becoming a join.
-- Concurrency. Claims of one service run one after the other: the lock mode conflicts with itself, and is the weakest that
-- does. Each statement of a function in PL/pgSQL sees what committed before it began, so a claim that waited for the lock sees what the previous claim leased.
-- Clock. clock_timestamp(), read after the lock, and not now(): a claim that waited sees rows written after its
-- transaction began, which would not be due by now(), while later rows of their keys, written by transactions that began
-- earlier, would be. It is read once (MATERIALIZED): a row that became due between two looks would let a later row of its
-- key pass.
CREATE FUNCTION {schema}.claim_outbox(
    owner text, max_rows integer, lease interval, full_routes text[], tracked bigint[])
RETURNS TABLE (seq bigint, route text, message text, failures integer, ordering_key text, refusals integer)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
    picked bigint[];
BEGIN
    LOCK TABLE {schema}.claim_lock IN SHARE UPDATE EXCLUSIVE MODE;
    picked := ARRAY(
        WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS moment)
        SELECT due.seq FROM {schema}.outbox AS due
        WHERE due.state = 'waiting'
            -- A row without delay has not_before = created_at. It is due even if the clock has been set back since:
            -- otherwise later rows of its key, written after the correction, would leave first.
            AND (due.not_before <= (SELECT moment FROM clock)
                OR (due.failures = 0 AND due.not_before <= due.created_at))
            AND (due.claimed_until IS NULL OR due.claimed_until < (SELECT moment FROM clock))
            AND due.route <> ALL (full_routes)
            -- An earlier row of the key blocks this one while it is leased or waits for another attempt; an abandoned
            -- row does not. A row that owner leases and tracks does not block either: owner queues this one behind it.
            -- A row leased to owner but not tracked does: its commit took effect after owner had given up on it.
            AND NOT EXISTS (
                SELECT FROM {schema}.outbox AS earlier
                WHERE earlier.sent_at IS NULL AND earlier.route = due.route
                    AND earlier.ordering_key = due.ordering_key AND earlier.seq < due.seq
                    AND ((earlier.claimed_until >= (SELECT moment FROM clock)
                            AND (earlier.claimed_by <> owner OR earlier.seq NOT IN (SELECT unnest(tracked))))
                        OR (earlier.failures > 0 AND earlier.not_before > (SELECT moment FROM clock)))
                OFFSET 0)
        ORDER BY due.seq LIMIT max_rows);
    RETURN QUERY
    UPDATE {schema}.outbox AS claimed SET claimed_until = clock_timestamp() + lease, claimed_by = owner,
        -- A lease that was not ended by its relay: nobody knows what became of the row.
        last_error = CASE WHEN claimed.claimed_until IS NULL THEN claimed.last_error ELSE coalesce(claimed.last_error,
            'its lease ended without an outcome, so that it may have been sent') END
    WHERE claimed.state = 'waiting' AND claimed.seq = ANY (picked)
    RETURNING claimed.seq, claimed.route, claimed.message, claimed.failures, claimed.ordering_key, claimed.refusals;
END $$;
