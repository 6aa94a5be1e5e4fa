"""A claim that keeps its order when the database's clock is set back, for fleets."""

import messaging_v9

revision = "fleets_0009"
down_revision = "fleets_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v9.upgrade("fleets")


def downgrade() -> None:
    messaging_v9.downgrade("fleets")
