"""A claim that keeps its order when the database's clock is set back, for matching."""

import messaging_v9

revision = "matching_0009"
down_revision = "matching_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v9.upgrade("matching")


def downgrade() -> None:
    messaging_v9.downgrade("matching")
