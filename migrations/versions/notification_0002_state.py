"""The log of what riders were told."""

from alembic import op

revision = "notification_0002"
down_revision = "notification_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Collated by code point: the log is paged in this order, whatever the server's locale.
    op.execute("""
        CREATE TABLE notification.told (
            booking_id text COLLATE "C" NOT NULL,
            notice text COLLATE "C" NOT NULL,
            PRIMARY KEY (booking_id, notice)
        )""")
    # clock_timestamp(), since now() is when the transaction began and would be early by what it waited.
    op.execute("""
        CREATE TABLE notification.delivery (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            booking_id text COLLATE "C" NOT NULL,
            notice text COLLATE "C" NOT NULL,
            rider_id text NOT NULL,
            text text NOT NULL,
            delivered_at timestamptz NOT NULL DEFAULT clock_timestamp()
        )""")
    op.execute("CREATE INDEX delivery_order ON notification.delivery (booking_id, notice, delivered_at)")


def downgrade() -> None:
    op.execute("DROP TABLE notification.delivery")
    op.execute("DROP TABLE notification.told")
