"""A cause and an end for what the outbox of matching gives up."""

import messaging_v4

revision = "matching_0004"
down_revision = "matching_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v4.upgrade("matching")


def downgrade() -> None:
    messaging_v4.downgrade("matching")
