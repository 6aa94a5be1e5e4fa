"""A claim of outbox rows whose plan cannot go wrong, for notification."""

import messaging_v6

revision = "notification_0006"
down_revision = "notification_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v6.upgrade("notification")


def downgrade() -> None:
    messaging_v6.downgrade("notification")
