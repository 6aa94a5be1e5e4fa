"""A place for what matching puts down to keep the order of its conversations."""

import messaging_v5

revision = "matching_0005"
down_revision = "matching_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v5.upgrade("matching")


def downgrade() -> None:
    messaging_v5.downgrade("matching")
