"""Order of message ids of operations: migrations/ddl/message_id_order.sql."""

import ddl_script
from alembic import op

revision = "operations_0003"
down_revision = "operations_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("message_id_order", "operations")


def downgrade() -> None:
    for table in ("inbox", "outbox"):
        op.execute(f'ALTER TABLE operations.{table} ALTER COLUMN message_id TYPE text COLLATE "default"')
