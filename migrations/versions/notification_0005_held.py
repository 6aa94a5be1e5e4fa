"""A place for what notification puts down to keep the order of its conversations."""

import messaging_v5

revision = "notification_0005"
down_revision = "notification_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v5.upgrade("notification")


def downgrade() -> None:
    messaging_v5.downgrade("notification")
