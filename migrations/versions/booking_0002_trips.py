"""Trips of booking: migrations/ddl/booking_trips.sql."""

import ddl_script
from alembic import op

revision = "booking_0002"
down_revision = "booking_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("booking_trips", "booking")


def downgrade() -> None:
    op.execute("ALTER TABLE booking.booking DROP COLUMN trip_id, DROP COLUMN leg")
    op.execute("DROP TABLE booking.trip")
