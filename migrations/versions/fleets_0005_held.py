"""A place for what fleets puts down to keep the order of its conversations."""

import messaging_v5

revision = "fleets_0005"
down_revision = "fleets_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v5.upgrade("fleets")


def downgrade() -> None:
    messaging_v5.downgrade("fleets")
