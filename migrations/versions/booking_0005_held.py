"""A place for what booking puts down to keep the order of its conversations."""

import messaging_v5

revision = "booking_0005"
down_revision = "booking_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v5.upgrade("booking")


def downgrade() -> None:
    messaging_v5.downgrade("booking")
