"""Routes of rides: migrations/ddl/booking_routes.sql."""

import ddl_script
from alembic import op

revision = "booking_0004"
down_revision = "booking_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("booking_routes", "booking")


def downgrade() -> None:
    op.execute("DROP TABLE booking.route")
