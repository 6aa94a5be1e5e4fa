"""Claim store of booking: migrations/ddl/claim_store.sql."""

import ddl_script
from alembic import op

revision = "booking_0003"
down_revision = "booking_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl_script.run("claim_store", "booking")


def downgrade() -> None:
    op.execute("DROP TABLE booking.checked_body")
