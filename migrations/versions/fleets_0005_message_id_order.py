"""Order of message ids of fleets: migrations/ddl/message_id_order.sql."""

import ddl_script
from alembic import op

revision = "fleets_0005"
down_revision = "fleets_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("message_id_order", "fleets")


def downgrade() -> None:
    for table in ("inbox", "outbox"):
        op.execute(f'ALTER TABLE fleets.{table} ALTER COLUMN message_id TYPE text COLLATE "default"')
