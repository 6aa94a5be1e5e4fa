"""A claim that keeps its order when the database's clock is set back, for booking."""

import messaging_v9

revision = "booking_0011"
down_revision = "booking_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v9.upgrade("booking")


def downgrade() -> None:
    messaging_v9.downgrade("booking")
