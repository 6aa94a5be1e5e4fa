"""Unreadable replies of partners with their bytes: migrations/ddl/fleets_unreadable_replies.sql."""

import ddl_script
from alembic import op

revision = "fleets_0002"
down_revision = "fleets_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("fleets_unreadable_replies", "fleets")


def downgrade() -> None:
    op.execute(
        "ALTER TABLE fleets.unreadable_reply DROP COLUMN message_id, DROP COLUMN cause, DROP COLUMN media_type, "
        "DROP COLUMN body, ADD COLUMN excerpt text NOT NULL DEFAULT ''"
    )
