"""When a booking was made, by the database's clock: what a quote's validity is counted from."""

from alembic import op

revision = "booking_0006"
down_revision = "booking_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE booking.booking ADD COLUMN created_at timestamptz")
    op.execute("UPDATE booking.booking SET created_at = (history -> 0 ->> 'at')::timestamptz")
    op.execute("""
        ALTER TABLE booking.booking
            ALTER COLUMN created_at SET DEFAULT now(), ALTER COLUMN created_at SET NOT NULL""")


def downgrade() -> None:
    op.execute("ALTER TABLE booking.booking DROP COLUMN created_at")
