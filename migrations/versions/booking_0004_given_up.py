"""A cause and an end for what the outbox of booking gives up."""

import messaging_v4

revision = "booking_0004"
down_revision = "booking_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v4.upgrade("booking")


def downgrade() -> None:
    messaging_v4.downgrade("booking")
