"""A claim of outbox rows that costs the same whatever the statistics say, for notification."""

import messaging_v7

revision = "notification_0007"
down_revision = "notification_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v7.upgrade("notification")


def downgrade() -> None:
    messaging_v7.downgrade("notification")
