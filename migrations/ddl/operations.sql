-- Dead letters with their history, and replays.

-- fingerprint: one message at one queue. version: the number of its last edit, 0 while it is as it came. reason and
-- operator: of the last discard; after a restore, operator is who restored it.
CREATE TABLE operations.dead_letter (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text NOT NULL UNIQUE,
    state text NOT NULL DEFAULT 'parked',
    queue text NOT NULL,
    exchange text NOT NULL,
    routing_key text NOT NULL,
    cause text NOT NULL,
    error_type text NOT NULL,
    error text NOT NULL,
    failure_group text NOT NULL,
    flow text NOT NULL,
    kind text NOT NULL,
    type text NOT NULL,
    message_id text NOT NULL,
    conversation_id text NOT NULL,
    trace_id text NOT NULL,
    attempts integer NOT NULL,
    times_parked integer NOT NULL DEFAULT 0,
    occurred_at timestamptz,
    first_failed_at timestamptz NOT NULL,
    last_failed_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    payload bytea NOT NULL,
    payload_bytes bigint NOT NULL,
    headers jsonb NOT NULL,
    version integer NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT '',
    operator text NOT NULL DEFAULT '',
    CONSTRAINT dead_letter_state_check CHECK (state IN ('parked', 'replaying', 'resolved', 'discarded'))
);

CREATE INDEX dead_letter_state ON operations.dead_letter (state, id);

CREATE INDEX dead_letter_conversation ON operations.dead_letter (conversation_id);

-- Grouping reads this index alone, and not the rows with their payloads.
CREATE INDEX dead_letter_groups ON operations.dead_letter (state, failure_group, last_failed_at)
    INCLUDE (cause, error_type, type, queue, first_failed_at);

CREATE INDEX dead_letter_resolved_age ON operations.dead_letter (last_failed_at) WHERE state = 'resolved';

-- Each time that a message was parked. The key makes one row of an occurrence that the broker delivers twice.
CREATE TABLE operations.occurrence (
    dead_letter_id bigint NOT NULL REFERENCES operations.dead_letter ON DELETE CASCADE,
    occurrence_id text NOT NULL,
    at timestamptz NOT NULL,
    cause text NOT NULL,
    error text NOT NULL,
    attempts integer NOT NULL,
    replay_id text NOT NULL,
    PRIMARY KEY (dead_letter_id, occurrence_id)
);

CREATE TABLE operations.dead_letter_version (
    dead_letter_id bigint NOT NULL REFERENCES operations.dead_letter ON DELETE CASCADE,
    number integer NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    reason text NOT NULL,
    operator text NOT NULL,
    headers jsonb NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (dead_letter_id, number)
);

CREATE TABLE operations.dead_letter_note (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dead_letter_id bigint NOT NULL REFERENCES operations.dead_letter ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT now(),
    operator text NOT NULL,
    text text NOT NULL
);

CREATE INDEX dead_letter_note_dead_letter ON operations.dead_letter_note (dead_letter_id, id);

-- leased_by and leased_until: which process runs the replay now. batches: the sizes of the batches sent so far.
CREATE TABLE operations.replay (
    id text PRIMARY KEY,
    state text NOT NULL DEFAULT 'running',
    outcome text,
    reason text NOT NULL DEFAULT '',
    operator text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    rate_per_s double precision,
    keep_going boolean NOT NULL,
    force boolean NOT NULL,
    ineligible jsonb NOT NULL,
    batches integer[] NOT NULL DEFAULT '{}',
    leased_by text NOT NULL DEFAULT '',
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT replay_state_check CHECK (state IN ('running', 'draining', 'done', 'stopped', 'cancelled')),
    CONSTRAINT replay_outcome_check CHECK (outcome IN ('stopped', 'cancelled'))
);

CREATE INDEX replay_open ON operations.replay (id) WHERE ended_at IS NULL;

CREATE INDEX replay_age ON operations.replay (created_at);

-- A redelivery is one message of a replay. predecessor_id: the message before it with the same ordering key, which must
-- be resolved first. beyond_retention: its receiver's inbox may have forgotten it.
CREATE TABLE operations.redelivery (
    replay_id text NOT NULL REFERENCES operations.replay,
    dead_letter_id bigint NOT NULL REFERENCES operations.dead_letter ON DELETE CASCADE,
    position integer NOT NULL,
    ordering_key text NOT NULL,
    predecessor_id bigint,
    state text NOT NULL DEFAULT 'requested',
    queue text NOT NULL,
    message_id text NOT NULL,
    version integer NOT NULL,
    beyond_retention boolean NOT NULL,
    dispatched_at timestamptz,
    sent_at timestamptz,
    settled_at timestamptz,
    received_at timestamptz,
    duplicate boolean NOT NULL DEFAULT false,
    same_cause boolean NOT NULL DEFAULT false,
    error text NOT NULL DEFAULT '',
    PRIMARY KEY (replay_id, dead_letter_id),
    CONSTRAINT redelivery_state_check CHECK (state IN ('requested', 'in_flight', 'resolved', 'failed_again',
        'blocked', 'cancelled', 'unconfirmed', 'refused'))
);

-- A message is in one live replay only, whoever starts another.
CREATE UNIQUE INDEX redelivery_live ON operations.redelivery (dead_letter_id)
    WHERE state IN ('requested', 'in_flight');

CREATE INDEX redelivery_next ON operations.redelivery (replay_id, state, position);

CREATE INDEX redelivery_ordering ON operations.redelivery (replay_id, ordering_key, position);

CREATE INDEX redelivery_dead_letter ON operations.redelivery (dead_letter_id);
