"""The log of what riders were told."""

from alembic import op

revision = "notification_0002"
down_revision = "notification_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE notification.delivery (
            booking_id text NOT NULL,
            notice text NOT NULL,
            rider_id text NOT NULL,
            text text NOT NULL,
            delivered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (booking_id, notice)
        )""")
    op.execute("CREATE INDEX delivery_at ON notification.delivery (delivered_at)")


def downgrade() -> None:
    op.execute("DROP TABLE notification.delivery")
