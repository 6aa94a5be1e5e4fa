"""Order of message ids of notification: migrations/ddl/message_id_order.sql."""

import ddl_script
from alembic import op

revision = "notification_0004"
down_revision = "notification_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("message_id_order", "notification")


def downgrade() -> None:
    for table in ("inbox", "outbox"):
        op.execute(f'ALTER TABLE notification.{table} ALTER COLUMN message_id TYPE text COLLATE "default"')
