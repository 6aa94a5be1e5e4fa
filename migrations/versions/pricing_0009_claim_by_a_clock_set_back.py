"""A claim that keeps its order when the database's clock is set back, for pricing."""

import messaging_v9

revision = "pricing_0009"
down_revision = "pricing_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    messaging_v9.upgrade("pricing")


def downgrade() -> None:
    messaging_v9.downgrade("pricing")
