"""Order and fencing for the outbox of notification."""

import messaging_v2

revision = "notification_0003"
down_revision = "notification_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v2.upgrade("notification")


def downgrade() -> None:
    messaging_v2.downgrade("notification")
