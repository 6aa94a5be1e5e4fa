"""A place for what pricing puts down to keep the order of its conversations."""

import messaging_v5

revision = "pricing_0005"
down_revision = "pricing_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v5.upgrade("pricing")


def downgrade() -> None:
    messaging_v5.downgrade("pricing")
