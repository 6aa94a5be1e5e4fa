"""Order and fencing for the outbox of pricing."""

import messaging_v2

revision = "pricing_0003"
down_revision = "pricing_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v2.upgrade("pricing")


def downgrade() -> None:
    messaging_v2.downgrade("pricing")
