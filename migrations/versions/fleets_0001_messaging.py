"""The schema of fleets, its role, and its inbox, outbox and awaited tables."""

import messaging_v1

revision = "fleets_0001"
down_revision = None
branch_labels = ("fleets",)
depends_on = None


def upgrade() -> None:
    messaging_v1.create("fleets")


def downgrade() -> None:
    messaging_v1.drop("fleets")
