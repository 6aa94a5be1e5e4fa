"""A claim that takes nothing behind a row of its relay that the relay does not know, for notification."""

import messaging_v8

revision = "notification_0008"
down_revision = "notification_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v8.upgrade("notification")


def downgrade() -> None:
    messaging_v8.downgrade("notification")
