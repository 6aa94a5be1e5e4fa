"""A claim that takes nothing behind a row of its relay that the relay does not know, for fleets."""

import messaging_v8

revision = "fleets_0008"
down_revision = "fleets_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v8.upgrade("fleets")


def downgrade() -> None:
    messaging_v8.downgrade("fleets")
