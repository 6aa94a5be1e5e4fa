"""A claim of outbox rows that costs the same whatever the statistics say, for pricing."""

import messaging_v7

revision = "pricing_0007"
down_revision = "pricing_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v7.upgrade("pricing")


def downgrade() -> None:
    messaging_v7.downgrade("pricing")
