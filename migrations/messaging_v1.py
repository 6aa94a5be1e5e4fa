"""What every service's schema begins with: its role, and the inbox, outbox and awaited tables.

Frozen as of revision 0001. A change of these tables is a new revision and a new module.
"""

from alembic import op

ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'prebook_{service}') THEN
        CREATE ROLE prebook_{service} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
    END IF;
END $$
"""

CREATE = (
    "CREATE SCHEMA {service}",
    "GRANT USAGE ON SCHEMA {service} TO prebook_{service}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {service} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO prebook_{service}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {service} GRANT USAGE ON SEQUENCES TO prebook_{service}",
    # The dedup key is the whole point: two deliveries of one message meet on this primary key.
    """
    CREATE TABLE {service}.inbox (
        message_id text PRIMARY KEY,
        flow text NOT NULL,
        conversation text NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now(),
        request text,
        answer text
    )""",
    """
    CREATE INDEX inbox_owed ON {service}.inbox (conversation, flow) WHERE request IS NOT NULL AND answer IS NULL""",
    "CREATE INDEX inbox_age ON {service}.inbox (received_at)",
    # Rows are updated twice in their life and purged: room on the page keeps the updates in place.
    """
    CREATE TABLE {service}.outbox (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        message_id text NOT NULL UNIQUE,
        kind text NOT NULL,
        flow text NOT NULL,
        conversation text NOT NULL,
        lane text NOT NULL,
        wire text NOT NULL,
        state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'expired', 'undeliverable')),
        created_at timestamptz NOT NULL DEFAULT now(),
        not_before timestamptz NOT NULL,
        expires_at timestamptz,
        claimed_until timestamptz,
        sent_at timestamptz,
        failures int NOT NULL DEFAULT 0,
        last_error text
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000)""",
    "CREATE INDEX outbox_waiting ON {service}.outbox (seq) WHERE state = 'waiting'",
    "CREATE INDEX outbox_given_up ON {service}.outbox (seq) WHERE state IN ('expired', 'undeliverable')",
    "CREATE INDEX outbox_sent ON {service}.outbox (sent_at) WHERE state = 'sent'",
    """
    CREATE TABLE {service}.awaited (
        request_id text PRIMARY KEY,
        flow text NOT NULL,
        conversation text NOT NULL,
        wire text NOT NULL,
        due_at timestamptz NOT NULL,
        poll_at timestamptz,
        polls int NOT NULL DEFAULT 0
    ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000)""",
    "CREATE INDEX awaited_due ON {service}.awaited (due_at)",
    "CREATE INDEX awaited_poll ON {service}.awaited (poll_at) WHERE poll_at IS NOT NULL",
)


def create(service: str) -> None:
    for statement in (ROLE, *CREATE):
        op.execute(statement.format(service=service))


def drop(service: str) -> None:
    """The role stays: it belongs to the cluster, and other databases may know it."""
    for table in ("awaited", "outbox", "inbox"):
        op.execute(f"DROP TABLE {service}.{table}")
    op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {service} REVOKE ALL ON TABLES FROM prebook_{service}")
    op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {service} REVOKE ALL ON SEQUENCES FROM prebook_{service}")
    op.execute(f"DROP SCHEMA {service}")
