"""Which driver is held for whom in which slot, and replies that nobody could read."""

from alembic import op

revision = "fleets_0002"
down_revision = "fleets_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE fleets.hold (
            fleet text NOT NULL,
            driver text NOT NULL,
            slot timestamptz NOT NULL,
            booking_id text NOT NULL,
            state text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'booked')),
            held_at timestamptz NOT NULL DEFAULT now(),
            until timestamptz NOT NULL,
            PRIMARY KEY (fleet, driver, slot),
            UNIQUE (fleet, booking_id)
        )""")
    op.execute("""
        CREATE TABLE fleets.unreadable_reply (
            booking_id text NOT NULL,
            fleet text NOT NULL,
            excerpt text NOT NULL,
            heard_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (booking_id, fleet)
        )""")


def downgrade() -> None:
    op.execute("DROP TABLE fleets.unreadable_reply")
    op.execute("DROP TABLE fleets.hold")
