"""Order of message ids of booking: migrations/ddl/message_id_order.sql."""

import ddl_script
from alembic import op

revision = "booking_0006"
down_revision = "booking_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("message_id_order", "booking")


def downgrade() -> None:
    for table in ("inbox", "outbox"):
        op.execute(f'ALTER TABLE booking.{table} ALTER COLUMN message_id TYPE text COLLATE "default"')
