"""A claim of outbox rows whose plan cannot go wrong, for booking."""

import messaging_v6

revision = "booking_0007"
down_revision = "booking_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v6.upgrade("booking")


def downgrade() -> None:
    messaging_v6.downgrade("booking")
