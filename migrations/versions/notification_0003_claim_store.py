"""Claim store of notification: migrations/ddl/claim_store.sql."""

import ddl_script
from alembic import op

revision = "notification_0003"
down_revision = "notification_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("claim_store", "notification")


def downgrade() -> None:
    op.execute("DROP TABLE notification.checked_body")
