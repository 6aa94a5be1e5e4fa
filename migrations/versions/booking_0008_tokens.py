"""Campaign tokens: how many bookings each window of each campaign has let in."""

from alembic import op

revision = "booking_0008"
down_revision = "booking_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # One row takes every booking of a window: room on its page keeps the updates there.
    op.execute("""
        CREATE TABLE booking.token_window (
            campaign text NOT NULL,
            began timestamptz NOT NULL,
            taken int NOT NULL CHECK (taken > 0),
            PRIMARY KEY (campaign, began)
        ) WITH (fillfactor = 10)""")


def downgrade() -> None:
    op.execute("DROP TABLE booking.token_window")
