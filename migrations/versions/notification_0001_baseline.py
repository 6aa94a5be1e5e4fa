"""The schema of notification: migrations/ddl/messaging.sql and migrations/ddl/notification.sql."""

import ddl_script

revision = "notification_0001"
down_revision = None
branch_labels = ("notification",)
depends_on = None


def upgrade() -> None:
    ddl_script.create("notification")


def downgrade() -> None:
    ddl_script.drop("notification")
