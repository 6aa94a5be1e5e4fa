"""Switches of operators: migrations/ddl/booking_switches.sql."""

import ddl_script
from alembic import op

revision = "booking_0005"
down_revision = "booking_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("booking_switches", "booking")


def downgrade() -> None:
    op.execute("DROP TABLE booking.switch")
