"""The schema of matching, its role, and its inbox, outbox and awaited tables."""

import messaging_v1

revision = "matching_0001"
down_revision = None
branch_labels = ("matching",)
depends_on = None


def upgrade() -> None:
    messaging_v1.create("matching")


def downgrade() -> None:
    messaging_v1.drop("matching")
