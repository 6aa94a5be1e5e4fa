"""Order of message ids of matching: migrations/ddl/message_id_order.sql."""

import ddl_script
from alembic import op

revision = "matching_0004"
down_revision = "matching_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("message_id_order", "matching")


def downgrade() -> None:
    for table in ("inbox", "outbox"):
        op.execute(f'ALTER TABLE matching.{table} ALTER COLUMN message_id TYPE text COLLATE "default"')
