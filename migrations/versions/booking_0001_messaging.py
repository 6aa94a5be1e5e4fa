"""The schema of booking, its role, and its inbox, outbox and awaited tables."""

import messaging_v1

revision = "booking_0001"
down_revision = None
branch_labels = ("booking",)
depends_on = None


def upgrade() -> None:
    messaging_v1.create("booking")


def downgrade() -> None:
    messaging_v1.drop("booking")
