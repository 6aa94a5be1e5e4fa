"""A cause and an end for what the outbox of fleets gives up."""

import messaging_v4

revision = "fleets_0004"
down_revision = "fleets_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v4.upgrade("fleets")


def downgrade() -> None:
    messaging_v4.downgrade("fleets")
