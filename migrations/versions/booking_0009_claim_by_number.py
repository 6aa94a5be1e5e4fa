"""A claim of outbox rows that costs the same whatever the statistics say, for booking."""

import messaging_v7

revision = "booking_0009"
down_revision = "booking_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v7.upgrade("booking")


def downgrade() -> None:
    messaging_v7.downgrade("booking")
