"""The schema of notification, its role, and its inbox, outbox and awaited tables."""

import messaging_v1

revision = "notification_0001"
down_revision = None
branch_labels = ("notification",)
depends_on = None


def upgrade() -> None:
    messaging_v1.create("notification")


def downgrade() -> None:
    messaging_v1.drop("notification")
