"""Order and fencing for the outbox of matching."""

import messaging_v2

revision = "matching_0003"
down_revision = "matching_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v2.upgrade("matching")


def downgrade() -> None:
    messaging_v2.downgrade("matching")
