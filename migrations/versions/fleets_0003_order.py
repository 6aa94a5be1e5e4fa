"""Order and fencing for the outbox of fleets."""

import messaging_v2

revision = "fleets_0003"
down_revision = "fleets_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v2.upgrade("fleets")


def downgrade() -> None:
    messaging_v2.downgrade("fleets")
