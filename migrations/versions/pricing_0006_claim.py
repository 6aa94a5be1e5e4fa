"""A claim of outbox rows whose plan cannot go wrong, for pricing."""

import messaging_v6

revision = "pricing_0006"
down_revision = "pricing_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v6.upgrade("pricing")


def downgrade() -> None:
    messaging_v6.downgrade("pricing")
