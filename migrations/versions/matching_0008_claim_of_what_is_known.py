"""A claim that takes nothing behind a row of its relay that the relay does not know, for matching."""

import messaging_v8

revision = "matching_0008"
down_revision = "matching_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v8.upgrade("matching")


def downgrade() -> None:
    messaging_v8.downgrade("matching")
