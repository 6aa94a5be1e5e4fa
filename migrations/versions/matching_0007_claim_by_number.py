"""A claim of outbox rows that costs the same whatever the statistics say, for matching."""

import messaging_v7

revision = "matching_0007"
down_revision = "matching_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v7.upgrade("matching")


def downgrade() -> None:
    messaging_v7.downgrade("matching")
