"""Parked messages with all that was done to them, and replays."""

from alembic import op

revision = "operations_0002"
down_revision = "operations_0001"
branch_labels = None
depends_on = None

CREATE = (
    """
    CREATE TABLE operations.parked (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        fingerprint text NOT NULL UNIQUE,
        state text NOT NULL DEFAULT 'parked' CHECK (state IN ('parked', 'replaying', 'resolved', 'discarded')),
        queue text NOT NULL,
        exchange text NOT NULL,
        key text NOT NULL,
        cause text NOT NULL,
        error_type text NOT NULL,
        error text NOT NULL,
        digest text NOT NULL,
        flow text NOT NULL,
        kind text NOT NULL,
        type text NOT NULL,
        message_id text NOT NULL,
        conversation text NOT NULL,
        trace_id text NOT NULL,
        attempts int NOT NULL,
        parkings int NOT NULL DEFAULT 0,
        said_at timestamptz,
        first_failed_at timestamptz NOT NULL,
        last_failed_at timestamptz NOT NULL,
        taken_at timestamptz NOT NULL DEFAULT now(),
        payload bytea NOT NULL,
        payload_bytes bigint NOT NULL,
        headers jsonb NOT NULL,
        version int NOT NULL DEFAULT 0,
        reason text NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX parked_state ON operations.parked (state, id)",
    "CREATE INDEX parked_conversation ON operations.parked (conversation)",
    # Grouping reads this alone, and not the rows with their payloads.
    """
    CREATE INDEX parked_groups ON operations.parked (state, digest, last_failed_at)
        INCLUDE (cause, error_type, type, queue, first_failed_at)""",
    # The second net: a parking that the broker hands over twice is one row.
    """
    CREATE TABLE operations.parking (
        parked_id bigint NOT NULL REFERENCES operations.parked ON DELETE CASCADE,
        event text NOT NULL,
        at timestamptz NOT NULL,
        cause text NOT NULL,
        error text NOT NULL,
        attempts int NOT NULL,
        replay_id text NOT NULL,
        PRIMARY KEY (parked_id, event)
    )""",
    """
    CREATE TABLE operations.version (
        parked_id bigint NOT NULL REFERENCES operations.parked ON DELETE CASCADE,
        number int NOT NULL,
        at timestamptz NOT NULL DEFAULT now(),
        reason text NOT NULL,
        headers jsonb NOT NULL,
        payload bytea NOT NULL,
        PRIMARY KEY (parked_id, number)
    )""",
    """
    CREATE TABLE operations.note (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        parked_id bigint NOT NULL REFERENCES operations.parked ON DELETE CASCADE,
        at timestamptz NOT NULL DEFAULT now(),
        text text NOT NULL
    )""",
    "CREATE INDEX note_parked ON operations.note (parked_id, id)",
    """
    CREATE TABLE operations.replay (
        id text PRIMARY KEY,
        state text NOT NULL DEFAULT 'running'
            CHECK (state IN ('running', 'draining', 'done', 'stopped', 'cancelled')),
        outcome text CHECK (outcome IN ('stopped', 'cancelled')),
        reason text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now(),
        ended_at timestamptz,
        rate_per_s double precision,
        keep_going boolean NOT NULL,
        force boolean NOT NULL,
        refused jsonb NOT NULL,
        batches int[] NOT NULL DEFAULT '{}',
        holder text NOT NULL DEFAULT '',
        leased_until timestamptz NOT NULL DEFAULT '-infinity'
    )""",
    "CREATE INDEX replay_open ON operations.replay (id) WHERE ended_at IS NULL",
    "CREATE INDEX replay_age ON operations.replay (created_at)",
    """
    CREATE TABLE operations.replay_item (
        replay_id text NOT NULL REFERENCES operations.replay,
        parked_id bigint NOT NULL REFERENCES operations.parked ON DELETE CASCADE,
        position int NOT NULL,
        lane text NOT NULL,
        behind bigint,
        state text NOT NULL DEFAULT 'requested' CHECK (state IN ('requested', 'in_flight', 'resolved', 'failed_again',
            'held', 'cancelled', 'unconfirmed', 'refused')),
        queue text NOT NULL,
        message_id text NOT NULL,
        version int NOT NULL,
        aged boolean NOT NULL,
        picked_at timestamptz,
        sent_at timestamptz,
        settled_at timestamptz,
        admitted_at timestamptz,
        duplicate boolean NOT NULL DEFAULT false,
        same_cause boolean NOT NULL DEFAULT false,
        error text NOT NULL DEFAULT '',
        PRIMARY KEY (replay_id, parked_id)
    )""",
    # Each message is in one live replay only, whoever tries.
    """
    CREATE UNIQUE INDEX replay_item_live ON operations.replay_item (parked_id)
        WHERE state IN ('requested', 'in_flight')""",
    "CREATE INDEX replay_item_turn ON operations.replay_item (replay_id, state, position)",
    "CREATE INDEX replay_item_lane ON operations.replay_item (replay_id, lane, position)",
    "CREATE INDEX replay_item_parked ON operations.replay_item (parked_id)",
)


def upgrade() -> None:
    for statement in CREATE:
        op.execute(statement)


def downgrade() -> None:
    for table in ("replay_item", "replay", "note", "version", "parking", "parked"):
        op.execute(f"DROP TABLE operations.{table}")
