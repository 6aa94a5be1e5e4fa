"""A cause and an end for what the outbox of pricing gives up."""

import messaging_v4

revision = "pricing_0004"
down_revision = "pricing_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v4.upgrade("pricing")


def downgrade() -> None:
    messaging_v4.downgrade("pricing")
