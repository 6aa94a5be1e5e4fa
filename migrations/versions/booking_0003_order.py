"""Order and fencing for the outbox of booking."""

import messaging_v2

revision = "booking_0003"
down_revision = "booking_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v2.upgrade("booking")


def downgrade() -> None:
    messaging_v2.downgrade("booking")
