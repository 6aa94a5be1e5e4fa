"""A claim of outbox rows that costs the same whatever the statistics say, for fleets."""

import messaging_v7

revision = "fleets_0007"
down_revision = "fleets_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v7.upgrade("fleets")


def downgrade() -> None:
    messaging_v7.downgrade("fleets")
