"""A cause and an end for what the outbox of notification gives up."""

import messaging_v4

revision = "notification_0004"
down_revision = "notification_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v4.upgrade("notification")


def downgrade() -> None:
    messaging_v4.downgrade("notification")
