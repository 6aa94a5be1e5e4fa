"""What a service has put down: messages of ordered flows that failed, and what came after them under their keys.

Frozen as of the revisions that use it.
"""

from alembic import op

UPGRADE = (
    """
    CREATE TABLE {service}.held (
        group_name text NOT NULL,
        message_id text NOT NULL,
        order_key text NOT NULL,
        seq bigint GENERATED ALWAYS AS IDENTITY,
        wire text NOT NULL,
        standing text NOT NULL CHECK (standing IN ('waiting', 'parked')),
        due_at timestamptz NOT NULL,
        held_at timestamptz NOT NULL DEFAULT now(),
        why text NOT NULL,
        PRIMARY KEY (group_name, message_id))""",
    "CREATE INDEX held_order ON {service}.held (group_name, order_key, seq)",
    # It is often empty, and then the statistics of a full moment mislead.
    "ALTER TABLE {service}.held SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02)",
)
DOWNGRADE = ("DROP TABLE {service}.held",)


def upgrade(service: str) -> None:
    for statement in UPGRADE:
        op.execute(statement.format(service=service))


def downgrade(service: str) -> None:
    for statement in DOWNGRADE:
        op.execute(statement.format(service=service))
