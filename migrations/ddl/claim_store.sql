-- Bodies of messages of this service that carry a claim check. A body is written with the outbox row of its message, and
-- read by the receivers over HTTP. expires_at moves on while a dead letter, or a row of the outbox, refers to the body.
-- read_at is the first time that a receiver has read it.
CREATE TABLE {schema}.checked_body (
    id text PRIMARY KEY,
    message_id text NOT NULL,
    kind text NOT NULL,
    flow text NOT NULL,
    body bytea NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    read_at timestamptz
);

CREATE INDEX checked_body_expiry ON {schema}.checked_body (expires_at);
