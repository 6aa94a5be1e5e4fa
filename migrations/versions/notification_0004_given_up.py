"""A cause and an end for what the outbox of notification gives up, and an age for what is forgotten in time."""

import messaging_v4
from alembic import op

revision = "notification_0004"
down_revision = "notification_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v4.upgrade("notification")
    op.execute("ALTER TABLE notification.told ADD COLUMN told_at timestamptz NOT NULL DEFAULT now()")
    op.execute("CREATE INDEX told_age ON notification.told (told_at)")
    op.execute("CREATE INDEX delivery_age ON notification.delivery (delivered_at)")


def downgrade() -> None:
    op.execute("DROP INDEX notification.delivery_age")
    op.execute("ALTER TABLE notification.told DROP COLUMN told_at")
    messaging_v4.downgrade("notification")
