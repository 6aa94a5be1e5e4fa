"""A claim that takes nothing behind a row of its relay that the relay does not know, for booking."""

import messaging_v8

revision = "booking_0010"
down_revision = "booking_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v8.upgrade("booking")


def downgrade() -> None:
    messaging_v8.downgrade("booking")
