"""A claim of outbox rows whose plan cannot go wrong, for matching."""

import messaging_v6

revision = "matching_0006"
down_revision = "matching_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v6.upgrade("matching")


def downgrade() -> None:
    messaging_v6.downgrade("matching")
