"""The schema of booking: migrations/ddl/messaging.sql and migrations/ddl/booking.sql."""

import ddl_script

revision = "booking_0001"
down_revision = None
branch_labels = ("booking",)
depends_on = None


def upgrade() -> None:
    ddl_script.create("booking")


def downgrade() -> None:
    ddl_script.drop("booking")
