"""A claim of outbox rows whose plan cannot go wrong, for fleets."""

import messaging_v6

revision = "fleets_0006"
down_revision = "fleets_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v6.upgrade("fleets")


def downgrade() -> None:
    messaging_v6.downgrade("fleets")
