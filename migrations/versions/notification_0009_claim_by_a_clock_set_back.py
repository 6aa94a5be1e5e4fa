"""A claim that keeps its order when the database's clock is set back, for notification."""

import messaging_v9

revision = "notification_0009"
down_revision = "notification_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v9.upgrade("notification")


def downgrade() -> None:
    messaging_v9.downgrade("notification")
