"""The schema of pricing, its role, and its inbox, outbox and awaited tables."""

import messaging_v1

revision = "pricing_0001"
down_revision = None
branch_labels = ("pricing",)
depends_on = None


def upgrade() -> None:
    messaging_v1.create("pricing")


def downgrade() -> None:
    messaging_v1.drop("pricing")
